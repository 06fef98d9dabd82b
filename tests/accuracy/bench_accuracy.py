"""mAP epoch by epoch beside other SSDs: same data, starting weights, epochs, batches and seeds; a table and curves.

Each run leaves a small JSON file, and what is there is not run again, so that the comparison can be made in pieces. A
set is a folder in VOC form, with the names of the VOC devkit or of `images`, `annotations`, `train.txt`, and `test.txt`
or `val.txt`; with one list alone one in five of its images is evaluated on, without lists one in five of all. Or it is
images with one or two COCO JSON files. Its name is that of its folder, or the one before it: `--voc
cells=exports/train`.
"""

import argparse
import fcntl
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import quote

from sagemaker_ssd.channels.recordio import read_records, split_payload
from sagemaker_ssd.contract.environment import WEIGHTS_SOURCE_VARIABLE
from sagemaker_ssd.contract.weights import required_weights
from sagemaker_ssd.convert.voc import decode_text
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import UserError, in_words
from sagemaker_ssd.files import sha256
from sagemaker_ssd.processes.mxnet_environment import mxnet_environment
from sagemaker_ssd.version import version

HERE = Path(__file__).parent
# In the table's order; accuracy_sides.py says what each does.
SIDES = {
    "ours": "this program, its defaults",
    "ours-recommended": "this program, as its documentation recommends",
    "original-0.001": "original recipe, learning rate 0.001",
    "original-0.004": "original recipe, learning rate 0.004",
    "gluoncv": "GluonCV, `ssd_300_vgg16_atrous`",
}
# Those of a group are one training, as far as they are alike.
TOGETHER = (("ours", "ours-recommended"), ("original-0.001",), ("original-0.004",), ("gluoncv",))
EPOCHS_SHOWN = (1, 2, 4, 8, 12)
MARKS = ("<!-- accuracy -->", "<!-- /accuracy -->")
# These have ImageNet's convolutions alone, which is what every side can start from.
WEIGHTS = "vgg-16=keras"
# What all results of a set have to have alike. The table names the precision of each.
ALIKE = ("images", "classes", "batch", "freeze")
# Where a set in VOC form has its parts.
IMAGES = ("JPEGImages", "images", "Images", "")
ANNOTATIONS = ("Annotations", "annotations", "labels", "")
LISTS = ("ImageSets/Main", "")
LISTED = {"train": ("train", "trainval"), "validation": ("test", "val", "valid", "validation")}
SUFFIXES = (".jpg", ".jpeg", ".png")
FRACTION = 0.2


@dataclass(frozen=True)
class DataSet:
    """A set's name, and the arguments that convert takes for it.

    images: the folder of its images. folder: where its channels are or will be.
    """

    name: str
    images: Path
    folder: Path
    arguments: Sequence[str]

    def channels(self) -> tuple[Path, Path, int]:
        """Convert the set once; return its files and the number of its classes.

        Ends the program where an image is in both: every figure would be too high.
        """
        if not (self.folder / "classes.txt").exists():
            command = [sys.executable, "-m", "sagemaker_ssd.convert", *self.arguments]
            command += ["--as", "recordio", "--output", str(self.folder)]
            # A few images that do not decode are no reason to compare nothing.
            done = subprocess.run([*command, "--max-bad-images", "0.05"], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{self.name} cannot be converted:\n{done.stderr}")
            print(done.stdout, flush=True)
            self._check_apart()
        train, validation = self._files()
        classes = (self.folder / "classes.txt").read_text(encoding="utf-8").splitlines()
        return train, validation, len(classes)

    def _files(self) -> tuple[Path, Path]:
        train, validation = (self.folder / name / f"{name}.rec" for name in ("train", "validation"))
        return train, validation

    def _check_apart(self) -> None:
        """Compare the images themselves: one may be listed in two ways, and stand under two names."""
        both = set.intersection(*({digest(image) for image in images_in(path)} for path in self._files()))
        if both:
            files = sorted(path for path in self.images.rglob("*") if path.is_file())
            named = [str(path.relative_to(self.images)) for path in files if digest(path.read_bytes()) in both]
            raise SystemExit(
                f"{self.name}: of its images {len(both)} are both for training and for evaluation: "
                f"{', '.join(named[:3])}{' ...' if named[3:] else ''}, by the bytes of the files. List each for one of "
                "them, and remove copies under other names"
            )


def digest(image: bytes) -> bytes:
    """Return what tells an image file from all others."""
    return hashlib.sha256(image).digest()


def images_in(path: Path) -> Iterator[bytes]:
    """Return the image files in a RecordIO file."""
    return (split_payload(record.payload).image for record in read_records(path, path.name))


def main() -> None:
    """Run what is missing, and write the table and the curves."""
    # So that nothing is left in the folder for temporary files, and no training runs on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse()
    try:
        options.results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"--results {options.results} can be no folder for results: {error.strerror}") from None
    if options.page is not None:
        prepare_page(options.page)
    failed = []
    with locked(options.results) as lock, tempfile.TemporaryDirectory() as scratch:
        sets = list(data_sets(options, Path(scratch)))
        if not sets:
            print("no data set was named or found: only the table of what is there is written")
        if sets and not options.table_only:
            check_weights()
            # Before hours of training, after which the table would be refused.
            check_asked_for(sets, options)
            for seed in options.seeds:
                for data in sets:
                    failed += run_sides(data, seed, options, Path(scratch), lock)
    results = read_results(options.results)
    check_alike(results)
    names = list(dict.fromkeys([*(data.name for data in sets), *(result["set"] for result in results)]))
    folder = options.results if options.page is None else options.page.parent
    text = table(results, names, options.sides, options.seeds)
    curves = [plot(results, name, folder) for name in names]
    text += "".join(f"\n![mAP by epoch, {path.stem}]({quote(path.name)})\n" for path in curves if path is not None)
    print(text)
    if options.page is not None:
        write_page(options.page, text)
    if failed:
        raise SystemExit(f"did not run to their ends, see above: {', '.join(failed)}")


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Let no second comparison write into a folder; yields the descriptor that holds the lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(
                f"another comparison, or a training that one has left behind, writes into {folder}: wait for it or end "
                "it, or name another folder with --results"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def check_weights() -> None:
    """Have all sides start from the same convolutions, which must be installed."""
    os.environ[WEIGHTS_SOURCE_VARIABLE] = WEIGHTS
    try:
        required_weights("vgg-16").check()
    except UserError as error:
        raise SystemExit(error.sentence) from None


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder whose folders are sets in VOC form")
    parser.add_argument(
        "--voc", action="append", default=[], metavar="[NAME=]FOLDER", help="one set in VOC form; can be repeated"
    )
    parser.add_argument(
        "--coco",
        nargs="+",
        action="append",
        default=[],
        metavar=("[NAME=]IMAGES", "JSON"),
        help="folder of images, JSON file to train on, and one to evaluate on; can be repeated",
    )
    parser.add_argument("--limit", type=positive, help="at most so many images of each list")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", nargs="+", type=not_negative, default=[0, 1])
    parser.add_argument("--epochs", type=positive, default=12)
    parser.add_argument("--batch", type=positive, default=8)
    parser.add_argument("--freeze", type=pattern, default="^(conv1_|conv2_).*", help="freeze_layer_pattern")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], default="float32", help="of all sides but GluonCV's"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("--page", type=Path, help="Markdown file whose table is replaced")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    options = parser.parse_args()
    if any(len(parts) not in (2, 3) for parts in options.coco):
        parser.error("--coco takes a folder of images and one or two JSON files")
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data {options.data} is no folder")
    return options


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    return whole_number(text, least=1)


def not_negative(text: str) -> int:
    """Read a whole number of 0 or more."""
    return whole_number(text, least=0)


def whole_number(text: str, least: int) -> int:
    """Read a whole number that may be no less than `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
    return int(text)


def pattern(text: str) -> str:
    """Read a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def data_sets(options: argparse.Namespace, scratch: Path) -> Iterator[DataSet]:
    """Find the sets that the command line names; each has a folder of its own for what is made of it."""
    suffix = f"-{options.limit}" if options.limit else ""
    in_voc_form = [named_folder(text) for text in options.voc]
    if options.data is not None:
        for folder in sorted(path for path in options.data.iterdir() if path.is_dir()):
            if first_with(folder, IMAGES, SUFFIXES) and first_with(folder, ANNOTATIONS, (".xml",)):
                in_voc_form.append((folder.resolve().name, folder))
            else:
                print(f"{folder} is left out: it has no images (.jpg, .png) and annotations (.xml) in VOC form")
    in_coco_form = [(*named_folder(images), files) for images, *files in options.coco]
    named = Counter([name for name, _ in in_voc_form] + [name for name, _, _ in in_coco_form])
    twice = [name for name, count in named.items() if count > 1]
    if twice:
        raise SystemExit(f"two sets have the name {twice[0]}: give one another, as in --voc other=FOLDER")
    for name, folder in in_voc_form:
        own = scratch / name
        own.mkdir()
        images, arguments = voc_arguments(name, folder, options.limit, own)
        yield DataSet(name + suffix, images, own / "channels", arguments)
    for name, folder, files in in_coco_form:
        own = scratch / name
        own.mkdir()
        yield DataSet(name + suffix, folder, own / "channels", coco_arguments(folder, files, options.limit, own))


def named_folder(text: str) -> tuple[str, Path]:
    """Return the name of a set and its folder; text: [NAME=]FOLDER."""
    name, sign, rest = text.partition("=")
    named = sign and name and "/" not in name and not Path(text).exists()
    folder = Path(rest if named else text)
    if not folder.is_dir():
        raise SystemExit(f"{folder} is no folder")
    return (name if named else folder.resolve().name), folder


def voc_arguments(name: str, folder: Path, limit: int | None, scratch: Path) -> tuple[Path, list[str]]:
    """Return the images of a folder in VOC form, and what convert takes for it, with lists of its own.

    Says which images are held out for evaluation where the folder does not say it.
    """
    images = first_with(folder, IMAGES, SUFFIXES)
    annotations = first_with(folder, ANNOTATIONS, (".xml",))
    if images is None or annotations is None:
        raise SystemExit(f"{folder} is no set in VOC form: images (.jpg, .png) and annotations (.xml) are looked for")
    train, validation = (
        next((path for part in LISTS for stem in stems if (path := folder / part / f"{stem}.txt").is_file()), None)
        for stems in LISTED.values()
    )
    if train is not None and validation is not None:
        lists = [listed_in(train), listed_in(validation)]
        if train.stem == "trainval" and validation.stem != "test":
            lists[0] = [line for line in lists[0] if line not in set(lists[1])]
    else:
        alone = train or validation
        if alone is None:
            lines, where = sorted(path.stem for path in annotations.glob("*.xml")), f"{annotations}, without lists"
        else:
            lines, where = list(dict.fromkeys(listed_in(alone))), f"{alone}, the only list"
        if len(lines) < 2:
            raise SystemExit(
                f"{name}: {where}, has {in_words(len(lines), 'image', 'images')}: two are the least that can be split"
            )
        lists = list(held_out(lines))
        print(f"{name}: held out for evaluation: {len(lists[1])} of the {len(lines)} images of {where}")
    written = []
    for part, lines in zip(LISTED, lists, strict=True):
        path = scratch / f"{part}.txt"
        path.write_text("".join(f"{line}\n" for line in lines[:limit]), encoding="utf-8")
        written.append(path)
    return images, [
        "voc",
        *("--images", str(images), "--annotations", str(annotations)),
        *("--train", str(written[0]), "--validation", str(written[1])),
    ]


def held_out(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what is trained on and what is evaluated on, one in five of all, by chance but always the same ones."""
    shuffled = list(lines)
    random.Random(0).shuffle(shuffled)
    held = max(1, int(len(shuffled) * FRACTION))
    return sorted(shuffled[held:]), sorted(shuffled[:held])


def listed_in(path: Path) -> list[str]:
    """Return the lines of a list of images; convert says what they may be."""
    try:
        lines = decode_text(path.read_bytes()).splitlines()
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}") from None
    except UserError:
        raise SystemExit(f"{path} cannot be read: it is not UTF-8 text; save it as UTF-8") from None
    return [line.strip() for line in lines if line.strip()]


def coco_arguments(images: Path, files: Sequence[str], limit: int | None, scratch: Path) -> list[str]:
    """Return what convert takes for COCO files, of which --limit leaves the first images alone."""
    arguments = ["coco", "--images", str(images)]
    for part, file in zip(LISTED, files, strict=False):
        path = Path(file)
        if limit is not None:
            content = coco_content(path)
            described = [image for image in content["images"] if "id" in image and "file_name" in image][:limit]
            ids = {str(image["id"]) for image in described}
            boxes = [one for one in content["annotations"] if str(one.get("image_id")) in ids]
            path = scratch / f"{part}.json"
            path.write_text(json.dumps({**content, "images": described, "annotations": boxes}))
        arguments += [f"--{part}", str(path)]
    if len(files) == 1:
        print(f"{files[0]} is the only JSON: one in five of its images is held out for evaluation")
    return arguments


def coco_content(path: Path) -> dict[str, Any]:
    """Read a COCO file, with lists of objects `images` and `annotations`; ends the program where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SystemExit(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        lists = [content.get("images"), content.setdefault("annotations", [])]
        if all(isinstance(one, list) and all(isinstance(item, dict) for item in one) for one in lists):
            return content
    raise SystemExit(
        f"{path} is not in COCO's form: a JSON object with the lists `images` and `annotations`, of objects each"
    )


def first_with(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """Return the first of a folder's folders that holds a file of one of the kinds."""
    for name in names:
        path = folder / name
        if path.is_dir() and any(entry.suffix.lower() in suffixes for entry in path.iterdir()):
            return path
    return None


def run_sides(data: DataSet, seed: int, options: argparse.Namespace, scratch: Path, lock: int) -> list[str]:
    """Run the sides on one set whose result is not there, those of one training together; return which failed."""
    train, validation, classes = data.channels()
    facts = {
        "set": data.name,
        "images": {"train": sha256(train), "validation": sha256(validation)},
        "of_epochs": options.epochs,
        "machine": machine(),
        "program": version(),
    }
    shared = {"classes": classes, "batch": options.batch, "freeze": options.freeze}
    failed = []
    for group in TOGETHER:
        missing = {}
        for side in (side for side in group if side in options.sides):
            result = result_file(data, side, seed, options)
            if found := whole_result(result, options):
                print(f"{result.name} is there, trained in {found.get('precision')}")
            else:
                missing[side] = str(result)
        if not missing:
            continue
        described = {**shared, "precision": precision_of(group[0], options)}
        described |= {"epochs": options.epochs, "seed": seed, "shown": EPOCHS_SHOWN}
        described |= {"train": str(train), "validation": str(validation)}
        command = [sys.executable, HERE / "accuracy_sides.py", json.dumps(described), json.dumps(missing)]
        environment = {**mxnet_environment(os.environ, threads=usable_cores()), "TMPDIR": str(scratch)}
        # The lock is held as long as the training runs, also where this program is killed.
        done = subprocess.run(
            [*map(str, command), "--facts", json.dumps(facts)], env=environment, pass_fds=[lock], check=False
        )
        if done.returncode:
            failed += [Path(result).name for result in missing.values()]
            print(f"{', '.join(missing)} on {data.name}: the run ended with {done.returncode}", flush=True)
    return failed


def result_file(data: DataSet, side: str, seed: int, options: argparse.Namespace) -> Path:
    """Return where the result of a run is, or will be."""
    path: Path = options.results / f"{data.name}-{side}-{seed}.json"
    return path


def precision_of(side: str, options: argparse.Namespace) -> str:
    """Return what a side is trained in."""
    return "float32" if side == "gluoncv" else str(options.precision)


def whole_result(result: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    """Read a result, trained in whatever precision; None where it is not there or not whole, ends where it is none."""
    if not result.exists():
        return None
    found = read_result(result)
    if found is None:
        raise SystemExit(f"{result} is no result of this program: remove it, or name another folder with --results")
    return found if "failure" in found or len(found["epochs"]) >= options.epochs else None


def check_asked_for(sets: Sequence[DataSet], options: argparse.Namespace) -> None:
    """End the program where a run that is asked for cannot be in one table with the results that are there."""
    wanted = []
    for data in sets:
        train, validation, classes = data.channels()
        facts = {"images": {"train": sha256(train), "validation": sha256(validation)}, "of_epochs": options.epochs}
        facts |= {"set": data.name, "classes": classes, "batch": options.batch, "freeze": options.freeze}
        for side in options.sides:
            wanted.append({**facts, "side": side})
            for seed in options.seeds:
                whole_result(result_file(data, side, seed, options), options)
    check_alike([*read_results(options.results), *wanted])


def check_alike(results: Sequence[dict[str, Any]]) -> None:
    """End the program where the results of a set are of other images or settings, or two are of one run.

    results: those without `file` are asked for and not there yet.
    """
    for name in dict.fromkeys(result["set"] for result in results):
        of_set = [result for result in results if result["set"] == name]
        # Its rate becomes lower when three quarters of the epochs are over.
        lowered = [result for result in of_set if result["side"] == "ours-recommended"]
        for fact, compared in (*((fact, of_set) for fact in ALIKE), ("of_epochs", lowered)):
            places: dict[str, list[str]] = {}
            for result in compared:
                files = places.setdefault(in_short(result.get(fact)), [])
                place = f"in {result['file']}" if "file" in result else "here"
                if place not in files:
                    files.append(place)
            if len(places) > 1:
                values = "; ".join(f"{fact} is {value} {', '.join(files)}" for value, files in places.items())
                raise SystemExit(
                    f"the results of {name} are of different trainings, which no table may have side by side: "
                    f"{values}. Name another folder with --results, or give the set another name, as in --voc "
                    "other=FOLDER"
                )
        runs: dict[tuple[object, ...], str] = {}
        for result in of_set:
            if "file" in result:
                run = tuple(result.get(fact) for fact in ("side", "seed", "precision"))
                other = runs.setdefault(run, result["file"])
                if other != result["file"]:
                    raise SystemExit(
                        f"{other} and {result['file']} are of one run, which would count twice: remove one"
                    )


def in_short(value: Any) -> str:
    """Return a fact as text; of what is identified by digests, their beginnings."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {str(digits)[:12]}" for name, digits in value.items())
    return str(value)


def machine() -> str:
    """Name the processor, the cores in use, and whether it has what makes several times faster."""
    text = Path("/proc/cpuinfo").read_text()
    lines = text.splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{usable_cores()} cores of {model}{' with AVX512' if ' avx512f ' in text else ''}"


def read_result(path: Path) -> dict[str, Any] | None:
    """Read a run's figures, with the name of their file; None where it is no result of this program."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = [float(epoch[name]) for epoch in content["epochs"] for name in ("voc07", "coco", "core_seconds")]
        known = content["side"] in SIDES and isinstance(content["set"], str) and content["of_epochs"] > 0
        return (
            {**content, "file": path.name} if known and content["seed"] >= 0 and all(map(isfinite, figures)) else None
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read every result, by set, side and seed."""
    results = []
    for path in sorted(folder.glob("*.json")):
        content = read_result(path)
        if content is None:
            print(f"{path} is left out: it is no result of this program")
        else:
            results.append(content)
    return sorted(results, key=lambda result: (result["set"], result["side"], result["seed"]))


def table(results: Sequence[dict[str, Any]], sets: Sequence[str], sides: Sequence[str], seeds: Sequence[int]) -> str:
    """Return the table in Markdown; what has not been run, or not to its end, is named."""
    head = " | ".join(f"after {epoch}" for epoch in EPOCHS_SHOWN)
    lines = [f"| set | side | seeds | {head} | COCO AP at the end | core seconds of an epoch, each seed |"]
    lines.append("|---" * (5 + len(EPOCHS_SHOWN)) + "|")
    missing = []
    for name in sets:
        longest = max((one["of_epochs"] for one in results if one["set"] == name), default=0)
        for side in sides:
            runs = [one for one in results if (one["set"], one["side"]) == (name, side)]
            figures = " | ".join(figure_after(runs, epoch) for epoch in EPOCHS_SHOWN)
            ended = [one for one in runs if is_whole(one)]
            end = max((one["of_epochs"] for one in ended), default=0)
            last = mean_of(one["epochs"][-1]["coco"] for one in ended if one["of_epochs"] == end)
            # Of each run, since a mean over machines and precisions says nothing of either.
            costs = [mean_of((epoch["core_seconds"] for epoch in one["epochs"]), digits=0) or "none" for one in runs]
            found = "; ".join(extent(one, longest) for one in runs) or "not run"
            lines.append(f"| {name} | {SIDES[side]} | {found} | {figures} | {last} | {'; '.join(costs)} |")
            done = [one["seed"] for one in runs if "failure" in one or is_whole(one)]
            missing += [f"{name} {side} {seed}" for seed in seeds if seed not in done]
    if missing:
        sentence = f"Not run to the end yet (set, side, seed): {'; '.join(missing)}."
        lines.append("\n" + textwrap.fill(sentence, 120, break_on_hyphens=False))
    return "\n".join([*lines, *all_classes_lines(results, sets, sides), *bfloat16_lines(results, sets)]) + "\n"


def is_whole(result: dict[str, Any]) -> bool:
    """Say whether a run has all its epochs."""
    return len(result["epochs"]) >= result["of_epochs"]


def extent(result: dict[str, Any], longest: int) -> str:
    """Name a run by its seed, and by its precision where that is not float32; say how far it came if not to its end.

    longest: the epochs of the set's longest run; what is whole with fewer is named too.
    """
    done = len(result["epochs"])
    name = f"{result['seed']} in bfloat16" if result.get("precision") == "bfloat16" else str(result["seed"])
    if "failure" in result:
        return f"{name} diverged after {done} epochs"
    if not is_whole(result):
        return f"{name} (of {result['of_epochs']} epochs {done})"
    return name if result["of_epochs"] == longest else f"{name} ({in_words(result['of_epochs'], 'epoch', 'epochs')})"


def mean_of(values: Iterator[float], digits: int = 3) -> str:
    """Return a mean as text, nothing of nothing."""
    found = list(values)
    return f"{mean(found):.{digits}f}" if found else ""


def all_classes_lines(results: Sequence[dict[str, Any]], sets: Sequence[str], sides: Sequence[str]) -> list[str]:
    """Return the table of the same models' detections of all classes; nothing where none was scored."""
    rows = []
    for name in sets:
        for side in sides:
            runs = [one for one in results if (one["set"], one["side"]) == (name, side)]
            figures = [figure_after(runs, epoch, "all_classes") for epoch in EPOCHS_SHOWN]
            if any(figures):
                rows.append(f"| {name} | {SIDES[side]} | {' | '.join(figures)} |")
    if not rows:
        return []
    head = " | ".join(f"after {epoch}" for epoch in EPOCHS_SHOWN)
    sentence = (
        "The same models with the detections of all classes of an anchor, by one rule for all sides: of each class the "
        "best 400 are looked at, each class is suppressed by itself, and of what is left an image keeps the best 400:"
    )
    return [
        f"\n{textwrap.fill(sentence, 120)}\n",
        f"| set | side | {head} |",
        "|---" * (2 + len(EPOCHS_SHOWN)) + "|",
        *rows,
    ]


def bfloat16_lines(results: Sequence[dict[str, Any]], sets: Sequence[str]) -> list[str]:
    """Return the table of the last epochs' models that were scored in bfloat16 too; nothing where none was."""
    rows = []
    for one in results:
        last = one["epochs"][-1] if one["epochs"] else {}
        if one["set"] in sets and "bfloat16" in last:
            pairs = [f"{last[name]:.4f} | {last['bfloat16'][name]:.4f}" for name in ("voc07", "coco")]
            rows.append(f"| {one['set']} | {SIDES[one['side']]} | {one['seed']} | {' | '.join(pairs)} |")
    if not rows:
        return []
    head = "| set | model of | seed | VOC07, float32 | VOC07, bfloat16 | COCO AP, float32 | COCO AP, bfloat16 |"
    return ["\nThe same models, detecting in bfloat16:\n", head, "|---" * 7 + "|", *sorted(rows)]


def figure_after(runs: Sequence[dict[str, Any]], epoch: int, detections: str | None = None) -> str:
    """Return the mean VOC07 of the runs that have come so far, and how far they differ.

    detections: those that were scored, where they are others than the side has by itself.
    """
    reached = [one["epochs"][epoch - 1] for one in runs if len(one["epochs"]) >= epoch]
    scores = [figures if detections is None else figures.get(detections) for figures in reached]
    values = [figures["voc07"] for figures in scores if figures]
    if not values:
        return ""
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


def plot(results: Sequence[dict[str, Any]], name: str, folder: Path) -> Path | None:
    """Draw a set's curves, a line for each run; None where there is none."""
    runs = [one for one in results if one["set"] == name and one["epochs"]]
    if not runs:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, side in enumerate(SIDES):
        for position, one in enumerate(one for one in runs if one["side"] == side):
            scores = [epoch["voc07"] for epoch in one["epochs"]]
            label = SIDES[side].replace("`", "") if position == 0 else None
            axes.plot(range(1, len(scores) + 1), scores, color=f"C{number}", marker=".", label=label)
    axes.set(xlabel="epochs", ylabel="mAP (VOC07)", title=name, ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    path = folder / f"accuracy-{name}.png"
    # Without matplotlib's version, so that equal curves are equal files.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return path


def prepare_page(page: Path) -> None:
    """Make the page where there is none; ends the program where it has no place for the table."""
    try:
        if not page.exists():
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(f"# Accuracy\n\n{MARKS[0]}\n{MARKS[1]}\n", encoding="utf-8")
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"--page {page} can be no page: {error.strerror}") from None
    if not all(mark in text for mark in MARKS):
        raise SystemExit(f"{page} lacks the marks {' and '.join(MARKS)}, between which the table is written")


def write_page(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
