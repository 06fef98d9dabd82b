"""What a conversion tells at its end."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sagemaker_ssd.convert.examples import Dataset, Example

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
