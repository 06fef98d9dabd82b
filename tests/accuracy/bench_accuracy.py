"""mAP epoch by epoch beside other SSDs: same data, starting weights, epochs, batches and seeds; a table and curves.

Each run leaves a small JSON file, and what is there is not run again, so that the comparison can be made in pieces. A
set is a folder in VOC form, with the names of the VOC devkit or of `images`, `annotations`, `train.txt`, and `test.txt`
or `val.txt`; without lists one image in five is evaluated on. Or it is images with one or two COCO JSON files.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from sagemaker_ssd.cores import usable_cores
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
# Where a set in VOC form has its parts.
IMAGES = ("JPEGImages", "images", "Images", "")
ANNOTATIONS = ("Annotations", "annotations", "labels", "")
LISTS = ("ImageSets/Main", "")
SUFFIXES = (".jpg", ".jpeg", ".png")
FRACTION = 0.2


@dataclass(frozen=True)
class DataSet:
    """A set's name, and the arguments that convert takes for it; folder: where its channels are or will be."""

    name: str
    folder: Path
    arguments: Sequence[str]

    def channels(self) -> tuple[Path, Path, int]:
        """Convert the set once; return its files and the number of its classes."""
        if not (self.folder / "classes.txt").exists():
            command = [sys.executable, "-m", "sagemaker_ssd.convert", *self.arguments]
            command += ["--as", "recordio", "--output", str(self.folder)]
            # A few images that do not decode are no reason to compare nothing.
            done = subprocess.run([*command, "--max-bad-images", "0.05"], capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{self.name} cannot be converted:\n{done.stderr}")
            print(done.stdout, flush=True)
        train, validation = (self.folder / name / f"{name}.rec" for name in ("train", "validation"))
        classes = (self.folder / "classes.txt").read_text(encoding="utf-8").splitlines()
        return train, validation, len(classes)


def main() -> None:
    """Run what is missing, and write the table and the curves."""
    options = parse()
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sets = list(data_sets(options, Path(scratch)))
        if not sets:
            print("no data set was named or found: only the table of what is there is written")
        if not options.table_only:
            for seed in options.seeds:
                for data in sets:
                    run_sides(data, seed, options)
    results = read_results(options.results)
    names = list(dict.fromkeys([*(data.name for data in sets), *(result["set"] for result in results)]))
    folder = options.results if options.page is None else options.page.parent
    text = table(results, names, options.sides, options.seeds)
    curves = [plot(results, name, folder) for name in names]
    text += "".join(f"\n![mAP by epoch, {path.stem}]({path.name})\n" for path in curves if path is not None)
    print(text)
    if options.page is not None:
        write_page(options.page, text)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder whose folders are sets in VOC form")
    parser.add_argument("--voc", type=Path, action="append", default=[], help="one set in VOC form; can be repeated")
    parser.add_argument(
        "--coco",
        nargs="+",
        action="append",
        default=[],
        metavar=("IMAGES", "JSON"),
        help="folder of images, JSON file to train on, and one to evaluate on; can be repeated",
    )
    parser.add_argument("--limit", type=int, help="at most so many images of each list")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--freeze", default="^(conv1_|conv2_).*", help="freeze_layer_pattern")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of this program")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    parser.add_argument("--page", type=Path, help="Markdown file whose table is replaced")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    return parser.parse_args()


def data_sets(options: argparse.Namespace, scratch: Path) -> Iterator[DataSet]:
    """Find the sets that the command line names."""
    limit = options.limit
    suffix = f"-{limit}" if limit else ""
    folders = [*options.voc]
    if options.data is not None:
        folders += sorted(path for path in options.data.iterdir() if (path / "annotations").is_dir())
    for folder in folders:
        name = folder.resolve().name + suffix
        yield DataSet(name, scratch / name, voc_arguments(folder, limit, scratch))
    for images, *files in options.coco:
        if len(files) not in (1, 2):
            raise SystemExit("--coco takes a folder of images and one or two JSON files")
        name = Path(images).resolve().name + suffix
        shortened = [str(shortened_coco(Path(file), limit, scratch)) for file in files]
        arguments = ["coco", "--images", images, "--train", shortened[0]]
        yield DataSet(name, scratch / name, [*arguments, *(["--validation", shortened[1]] if shortened[1:] else [])])


def voc_arguments(folder: Path, limit: int | None, scratch: Path) -> list[str]:
    """Return what convert takes for a folder in VOC form, with lists of its own."""
    images = first_with(folder, IMAGES, SUFFIXES)
    annotations = first_with(folder, ANNOTATIONS, (".xml",))
    if images is None or annotations is None:
        raise SystemExit(f"{folder} is no set in VOC form: images (.jpg, .png) and annotations (.xml) are looked for")
    train, validation = (
        next((p for part in LISTS for name in names if (p := folder / part / f"{name}.txt").is_file()), None)
        for names in (("train", "trainval"), ("test", "val"))
    )
    if train is None or validation is None:
        stems = sorted(path.stem for path in annotations.glob("*.xml"))
        random.Random(0).shuffle(stems)
        held = max(1, int(len(stems) * FRACTION))
        lists = (sorted(stems[held:]), sorted(stems[:held]))
    else:
        lists = tuple(
            [line.split()[0] for line in path.read_text().splitlines() if line.split()] for path in (train, validation)
        )
    written = []
    for name, stems in zip(("train", "validation"), lists, strict=True):
        path = scratch / f"{folder.resolve().name}-{name}.txt"
        path.write_text("".join(f"{stem}\n" for stem in stems[:limit]))
        written.append(path)
    return [
        "voc",
        *("--images", str(images), "--annotations", str(annotations)),
        *("--train", str(written[0]), "--validation", str(written[1])),
    ]


def first_with(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> Path | None:
    """Return the first of a folder's folders that holds a file of one of the kinds."""
    for name in names:
        path = folder / name
        if path.is_dir() and any(entry.suffix.lower() in suffixes for entry in path.iterdir()):
            return path
    return None


def shortened_coco(path: Path, limit: int | None, scratch: Path) -> Path:
    """Return a COCO file with the first images alone, the file itself without a limit."""
    if limit is None:
        return path
    content = json.loads(path.read_text(encoding="utf-8"))
    content["images"] = content["images"][:limit]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in ids]
    short = scratch / f"{limit}-{path.name}"
    short.write_text(json.dumps(content), encoding="utf-8")
    return short


def run_sides(data: DataSet, seed: int, options: argparse.Namespace) -> None:
    """Run the sides on one set whose result is not there; those of one training together."""
    missing = {}
    for side in options.sides:
        result = options.results / f"{data.name}-{side}-{seed}.json"
        found = json.loads(result.read_text()) if result.exists() else {"epochs": []}
        if len(found["epochs"]) >= options.epochs or "failure" in found:
            print(f"{result.name} is there")
        else:
            missing[side] = str(result)
    if not missing:
        return
    train, validation, classes = data.channels()
    facts = {"set": data.name, "machine": machine(), "program": version()}
    for group in TOGETHER:
        results = {side: missing[side] for side in group if side in missing}
        if not results:
            continue
        described = {
            "train": str(train),
            "validation": str(validation),
            "classes": classes,
            "epochs": options.epochs,
            "batch": options.batch,
            "seed": seed,
            "freeze": options.freeze,
            "precision": options.precision if "ours" in group else "float32",
        }
        command = [sys.executable, HERE / "accuracy_sides.py", json.dumps(described), json.dumps(results)]
        environment = mxnet_environment(os.environ, threads=usable_cores())
        done = subprocess.run([*map(str, command), "--facts", json.dumps(facts)], env=environment)
        if done.returncode:
            print(f"{', '.join(results)} on {data.name}: the run ended with {done.returncode}", flush=True)


def machine() -> str:
    """Name the processor and the cores in use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{usable_cores()} cores of {model}"


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read every result."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def table(results: Sequence[dict[str, Any]], sets: Sequence[str], sides: Sequence[str], seeds: Sequence[int]) -> str:
    """Return the table in Markdown; what has not been run is named."""
    head = " | ".join(f"after {epoch}" for epoch in EPOCHS_SHOWN)
    lines = [f"| set | side | seeds | {head} | COCO AP at the end | core seconds of an epoch |"]
    lines.append("|---" * (5 + len(EPOCHS_SHOWN)) + "|")
    for name in sets:
        for side in sides:
            runs = [one for one in results if (one["set"], one["side"]) == (name, side) and one["epochs"]]
            failed = [one for one in results if (one["set"], one["side"]) == (name, side) and "failure" in one]
            found = ", ".join(str(one["seed"]) for one in runs) or "not run"
            figures = [figure_after(runs, epoch) for epoch in EPOCHS_SHOWN]
            last = f"{mean(one['epochs'][-1]['coco'] for one in runs):.3f}" if runs else ""
            seconds = [epoch["core_seconds"] for one in runs for epoch in one["epochs"]]
            cost = f"{mean(seconds):.0f}" if seconds else ""
            if failed:
                found += f"; diverged with {', '.join(str(one['seed']) for one in failed)}"
            lines.append(f"| {name} | {SIDES[side]} | {found} | {' | '.join(figures)} | {last} | {cost} |")
    done = {(one["set"], one["side"], one["seed"]) for one in results}
    wanted = [(name, side, seed) for name in sets for side in sides for seed in seeds]
    missing = [key for key in wanted if key not in done]
    if missing:
        listed = "; ".join(f"{name} {side} {seed}" for name, side, seed in missing)
        lines.append("\n" + textwrap.fill(f"Not run yet (set, side, seed): {listed}.", 120, break_on_hyphens=False))
    return "\n".join([*lines, *bfloat16_lines(results, sets)]) + "\n"


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


def figure_after(runs: Sequence[dict[str, Any]], epoch: int) -> str:
    """Return the mean VOC07 of the runs that have come so far, and how far they differ."""
    values = [one["epochs"][epoch - 1]["voc07"] for one in runs if len(one["epochs"]) >= epoch]
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


def write_page(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, mark, after = rest.partition(MARKS[1])
    if not mark:
        raise SystemExit(f"{page} lacks the marks {' and '.join(MARKS)}")
    page.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
