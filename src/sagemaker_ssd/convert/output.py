"""The channels of a training job, as images with one JSON each or as one RecordIO file a channel.

What a conversion tells at its end.
"""

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sagemaker_ssd.convert.dataset import Box, Dataset, Example
from sagemaker_ssd.errors import UserError, problems

# COCO's corners are sums of two decimals each; digits beyond these are float noise.
_DECIMALS = 4
# MXNet's reader aborts on a label without a box, but drops a box without area.
_NO_OBJECT = np.array([2, 5, 0, 0.5, 0.5, 0.5, 0.5], np.float32)


def write_images(dataset: Dataset, output: Path) -> None:
    """Copy images below `<channel>/` and write the JSON of each at the same place below `<channel>_annotation/`.

    Raises UserError if two images would share a JSON. Source of the format: Amazon SageMaker developer guide,
    `object-detection.md`, "Train with the Image Format".
    """
    _refuse_shared_annotations(dataset)
    categories = [{"class_id": number, "name": name} for number, name in enumerate(dataset.classes)]
    for channel, examples in dataset.splits.items():
        for example in tqdm(examples, desc=f"writing {channel}", unit=" images", leave=False, disable=None):
            image = output / channel / example.file
            image.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example.image, image)
            path = output / f"{channel}_annotation" / example.annotation
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**_describe(example), "categories": categories}), encoding="utf-8")


def write_recordio(dataset: Dataset, output: Path, seed: int) -> None:
    """Write `<channel>/<channel>.rec`, images byte for byte; train in a seeded random order.

    The order matters because MXNet's reader shuffles only what lies near together in the file.
    """
    # Costs a second, and only this form needs it.
    from mxnet import MXNetError
    from mxnet.recordio import IRHeader, MXRecordIO, pack

    object_width = 6 if dataset.has_difficult else 5
    for channel, examples in dataset.splits.items():
        order = list(examples)
        if channel == "train":
            random.Random(seed).shuffle(order)
        path = output / channel / f"{channel}.rec"
        path.parent.mkdir(parents=True)
        try:
            file = MXRecordIO(str(path), "w")
            for number, example in enumerate(
                tqdm(order, desc=f"writing {channel}", unit=" images", leave=False, disable=None)
            ):
                header = IRHeader(0, record_label(example, object_width), number, 0)
                file.write(pack(header, example.image.read_bytes()))
            file.close()
        except MXNetError as error:
            raise UserError(
                f"{path} cannot be written; is the disk full? ({str(error).rpartition(': ')[2]})"
            ) from error


def record_label(example: Example, object_width: int) -> NDArray[np.float32]:
    """Return the label of a record: header 2, `object_width`, then class_id, corners in fractions [, difficult].
    An image without objects gets one without area.
    """
    if not example.boxes:
        return _NO_OBJECT
    rows = np.array([_row(box, example) for box in example.boxes], np.float32)[:, :object_width]
    return np.concatenate([np.array([2, object_width], np.float32), rows.ravel()])


def _row(box: Box, example: Example) -> tuple[float, ...]:
    width, height = example.width, example.height
    corners = (box.xmin / width, box.ymin / height, box.xmax / width, box.ymax / height)
    return (box.class_id, *corners, box.difficult)


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
    faults = [fault for examples in dataset.splits.values() for fault in _shared_annotations(examples)]
    if faults:
        raise UserError(problems(faults))


def _shared_annotations(examples: Sequence[Example]) -> list[str]:
    first: dict[str, str] = {}
    faults = []
    for example in examples:
        other = first.setdefault(example.annotation, example.file)
        if other != example.file:
            faults.append(f"{other} and {example.file} would share the annotation {example.annotation}: rename one")
    return faults


_DEFAULT_LABEL_WIDTH = 350


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
    flat = [example.file for example in everything for box in example.boxes if not box.has_area]
    if flat:
        notes.append(f"boxes without area: {len(flat):,}, first in {flat[0]}; kept here, dropped by the training job")
    difficult = sum(box.difficult for example in everything for box in example.boxes)
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
    object_width = 6 if form == "recordio" and dataset.has_difficult else 5
    most = max(len(example.boxes) for examples in dataset.splits.values() for example in examples)
    if 2 + object_width * most > _DEFAULT_LABEL_WIDTH:
        lines.append(f"label_width={2 + object_width * most}")
    return lines
