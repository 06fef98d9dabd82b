"""The channels that a data set is written to, as images with one JSON each or as RecordIO files, and their summary."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sagemaker_ssd.boxes import BORDER_PIXELS, inverted, pixels_outside, with_area
from sagemaker_ssd.channels.recordio import NO_OBJECT, Payload, frame, join_payload, label_of
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.convert.dataset import Dataset, Example
from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.files import is_disk_full

# COCO's corners are sums of two decimals each; digits beyond these are float noise.
_DECIMALS = 4
_DEFAULT_LABEL_WIDTH: Final[int] = Hyperparameters.model_fields["label_width"].default


def write_images(dataset: Dataset, output: Path) -> None:
    """Copy images below `<channel>/` and write the JSON of each at the same place below `<channel>_annotation/`.

    Raises UserError if two images would share a JSON, or for a file that cannot be written. Source of the format:
    Amazon SageMaker developer guide, `object-detection.md`, "Train with the Image Format".
    """
    _refuse_shared_annotations(dataset)
    categories = [{"class_id": number, "name": name} for number, name in enumerate(dataset.classes)]
    for channel, examples in dataset.splits.items():
        for example in tqdm(examples, desc=f"writing {channel}", unit=" images", leave=False, disable=None):
            image = output / channel / example.file
            with _writing(image):
                shutil.copyfile(example.image, image)
            path = output / f"{channel}_annotation" / example.annotation
            with _writing(path):
                path.write_text(json.dumps({**_describe(example), "categories": categories}), encoding="utf-8")


def write_recordio(dataset: Dataset, output: Path, seed: int) -> None:
    """Write `<channel>/<channel>.rec`, images byte for byte; train in a seeded random order.

    The order matters because MXNet's reader shuffles only what lies near together in the file. Raises UserError for a
    file that cannot be written, or an image that is too long for a record.
    """
    object_width = dataset.object_width
    for channel, examples in dataset.splits.items():
        order = list(examples)
        if channel == "train":
            random.Random(seed).shuffle(order)
        path = output / channel / f"{channel}.rec"
        with _writing(path), path.open("xb") as file:
            for number, example in enumerate(
                tqdm(order, desc=f"writing {channel}", unit=" images", leave=False, disable=None)
            ):
                try:
                    image = example.image.read_bytes()
                    file.write(frame(join_payload(Payload(number, _record_label(example, object_width), image))))
                except ValueError as error:
                    raise UserError(f"{example.image} cannot be packed: {error}") from error


def write_class_names(dataset: Dataset, output: Path) -> None:
    """Write the names of the classes in the order of their ids, one a line, to `classes.txt`."""
    path = output / "classes.txt"
    with _writing(path):
        path.write_text("".join(f"{name}\n" for name in dataset.classes), encoding="utf-8")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Make the folder of `path`, and name the file in the error of writing it, which mostly has no name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        place = error.filename2 or error.filename or path
        full = f"the disk is full, or a quota or limit is reached ({error.strerror}): make room, then empty the folder"
        raise UserError(
            f"{place} cannot be written: {full if is_disk_full(error) else error.strerror or error}"
        ) from error


def _record_label(example: Example, object_width: int) -> NDArray[np.float32]:
    """Return the label of a record: header 2, `object_width`, then class_id, corners in fractions [, difficult]."""
    width, height = example.width, example.height
    rows = [
        (box.class_id, box.xmin / width, box.ymin / height, box.xmax / width, box.ymax / height, box.difficult)
        for box in example.boxes
    ]
    # Other readers of the file need an object in every label; this one, without area, counts as none.
    if not rows:
        return NO_OBJECT
    objects = np.array(rows, np.float32)[:, :object_width]
    # How far a box may pass the border is measured in the size that is stated, of which a record knows nothing.
    objects[:, 1:5] = objects[:, 1:5].clip(0, 1)
    return label_of(objects)


def _describe(example: Example) -> dict[str, object]:
    return {
        "file": example.file,
        "image_size": [{"width": example.width, "height": example.height, "depth": 3}],
        "annotations": [
            {
                "class_id": box.class_id,
                "left": _number(box.xmin),
                "top": _number(box.ymin),
                "width": _number(box.xmax - box.xmin),
                "height": _number(box.ymax - box.ymin),
            }
            for box in example.boxes
        ],
    }


def _number(value: float) -> float:
    rounded = round(value, _DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def _refuse_shared_annotations(dataset: Dataset) -> None:
    faults = []
    for examples in dataset.splits.values():
        first: dict[str, str] = {}
        for example in examples:
            other = first.setdefault(example.annotation, example.file)
            if other != example.file:
                faults.append(f"{other} and {example.file} would share the annotation {example.annotation}: rename one")
    if faults:
        raise UserError(problems(faults))


def summarise(dataset: Dataset, form: str, output: Path) -> str:
    """Write counts for each split and class, notes, and what to give the training job."""
    lines = []
    for channel, examples in dataset.splits.items():
        boxes = sum(len(example.boxes) for example in examples)
        empty = sum(not example.boxes for example in examples)
        lines.append(
            f"{channel}: images {len(examples):,}, boxes {boxes:,}, classes {len(_counts(examples)):,} of "
            f"{len(dataset.classes):,}, images without objects {empty:,}"
        )
    lines += ["", f"boxes of each class (names in {output / 'classes.txt'}):", *_class_lines(dataset)]
    notes = [*dataset.notes, *_notes(dataset, form)]
    if notes:
        lines += ["", "notes:", *(f"- {note}" for note in notes)]
    lines += ["", "hyperparameters for this data:", *(f"  {line}" for line in _hyperparameters(dataset, form))]
    content_type = "application/x-recordio" if form == "recordio" else "application/x-image"
    names = [path.name for path in sorted(output.iterdir()) if path.is_dir()]
    lines += ["", f"channels below {output}: {', '.join(names)} (content type {content_type})"]
    return "\n".join(lines)


def _counts(examples: Sequence[Example]) -> Counter[int]:
    return Counter(box.class_id for example in examples for box in example.boxes)


def _class_lines(dataset: Dataset) -> list[str]:
    counts = [_counts(examples) for examples in dataset.splits.values()]
    width = max(map(len, dataset.classes))
    return [
        f"  {number:>3} {name:<{width}}  train {counts[0][number]:>9,}  validation {counts[1][number]:>9,}"
        for number, name in enumerate(dataset.classes)
    ]


def _notes(dataset: Dataset, form: str) -> list[str]:
    notes = []
    everything = [example for examples in dataset.splits.values() for example in examples]
    drawn = [(example.file, box) for example in everything for box in example.boxes]
    corners = np.array([(box.xmin, box.ymin, box.xmax, box.ymax) for _, box in drawn], np.float64).reshape(-1, 4)
    sides = [(each.width, each.height) * 2 for each in everything for _ in each.boxes]
    sizes = np.array(sides, np.float64).reshape(-1, 4)
    areas = with_area(corners.clip(0, sizes))
    flat = [drawn[number][0] for number in np.flatnonzero(~areas & ~inverted(corners))]
    if flat:
        notes.append(f"boxes without area: {len(flat):,}, first in {flat[0]}; kept here, dropped by the training job")
    past = (pixels_outside(corners / sizes, 1, 1) > 0) & areas
    if past.any():
        clipped = "clipped" if form == "recordio" else "kept here, clipped by the training job"
        first = drawn[past.argmax()][0]
        notes.append(f"boxes past the border by up to {BORDER_PIXELS} px: {past.sum():,}, first in {first}; {clipped}")
    difficult = sum(box.difficult for _, box in drawn)
    if difficult and form == "images":
        notes.append(
            f"boxes marked difficult: {difficult:,}; the JSON format has no place for the mark, so they count like "
            "all others; --as recordio keeps it"
        )
    both = {example.image.resolve() for example in dataset.train}
    both &= {example.image.resolve() for example in dataset.validation}
    if both:
        notes.append(
            f"images both in train and in validation: {len(both):,}, first {min(both).name}; the validation "
            "figures will look better than they are"
        )
    return notes


def _hyperparameters(dataset: Dataset, form: str) -> list[str]:
    lines = [f"num_classes={len(dataset.classes)}", f"num_training_samples={len(dataset.train)}"]
    object_width = dataset.object_width if form == "recordio" else 5
    most = max(len(example.boxes) for examples in dataset.splits.values() for example in examples)
    if 2 + object_width * most > _DEFAULT_LABEL_WIDTH:
        lines.append(f"label_width={2 + object_width * most}")
    return lines
