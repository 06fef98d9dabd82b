"""What the job was: the head of the page, the course of the training, and its settings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.chart_kinds import LOSSES, MEANS, epoch_chart
from sagemaker_ssd.report.job_figures import EpochFigures, ModelFigures, hyperparameter, section
from sagemaker_ssd.report.page import details, figure, side_by_side, table, tiles
from sagemaker_ssd.report.wording import counted, escape, number
from sagemaker_ssd.report.wording import figure as digits

_TABLE_EPOCHS = 200
_SETTINGS = 200


def title(metrics: Mapping[str, Any]) -> str:
    """Return the page's title."""
    network, shape = section(metrics, "hyperparameters").get("base_network"), hyperparameter(metrics, "image_shape")
    what = "Training" if metrics.get("epochs") else "Evaluation"
    named = f" of {network}" if network else ""
    return f"{what}{named}{f' at {shape:.0f} pixels' if shape else ''}: object detection"


def introduction(metrics: Mapping[str, Any], analysis: Analysis, figures: ModelFigures) -> str:
    """Return the figures at the head of the page."""
    train = section(metrics, "data", "train")
    shown = [("validation mAP (VOC 2007)", digits(figures.mean))]
    if figures.coco is not None:
        shown.append(("COCO AP", digits(figures.coco)))
    if metrics.get("epochs"):
        best = number(metrics.get("best_epoch"))
        shown.append((f"best epoch, of 0 to {len(metrics['epochs']) - 1}", digits(best, 0)))
    if analysis.total_boxes:
        shown.append(
            (
                f"objects found at score {analysis.score_threshold:.2f}",
                f"{analysis.found:,} of {analysis.total_boxes:,}",
            )
        )
    if train:
        shown.append(("training data", _data(train.get("images"), train.get("boxes"))))
    validation = analysis.validation
    data = f"{_data(len(validation.images), len(validation.objects))}, "
    data += counted(len(validation.class_ids), "class", "classes")
    shown.append(("validation data", data if validation.images else "none"))
    return tiles(shown)


def _data(images: Any, boxes: Any) -> str:
    counts = [(images, "image", "images"), (boxes, "box", "boxes")]
    return ", ".join(counted(int(count), one, many) for count, one, many in counts if number(count) is not None)


def training_section(metrics: Mapping[str, Any], epochs: Sequence[EpochFigures]) -> str:
    """Return the curves of loss and mAP, and their figures; empty without epochs."""
    if not epochs:
        return ""
    best = metrics.get("best_epoch")
    best = best if isinstance(best, int) and any(epoch.mean is not None for epoch in epochs) else None
    charts = (
        figure(
            epoch_chart("losses", "training loss", LOSSES, epochs, best),
            "Losses of the training images, as means over the epoch. They should fall, ever more slowly.",
        ),
        figure(
            epoch_chart("means", "validation", MEANS, epochs, best),
            "Precision on the validation images after each epoch. The model of the best epoch is the one that is kept.",
        ),
    )
    step = 1 + (len(epochs) - 1) // _TABLE_EPOCHS
    rows = [
        (str(epoch.epoch), *map(digits, (epoch.cross_entropy, epoch.smooth_l1, epoch.mean, epoch.coco)))
        for epoch in epochs[::step]
    ]
    caption = "Figures of every epoch" if step == 1 else f"Figures of every {step}th epoch; metrics.json has all"
    header = ("epoch", "cross-entropy", "smooth L1", "mAP (VOC 2007)", "COCO AP")
    return side_by_side(*charts) + details("The figures of the epochs", table(caption, header, rows))


def settings_section(metrics: Mapping[str, Any]) -> str:
    """Return what it takes to run the job again; empty where metrics.json says nothing of it."""
    parts = []
    data = section(metrics, "data")
    keys = ("images", "boxes", "images_without_objects")
    counts = [
        (escape(channel), *(f"{count:,.0f}" if (count := number(each.get(key))) is not None else "–" for key in keys))
        for channel, each in data.items()
        if isinstance(each, Mapping)
    ]
    if counts:
        parts.append(table("Data", ("channel", "images", "boxes", "images without objects"), counts))
    seconds = list(_seconds(section(metrics, "timings")))
    if seconds:
        parts.append(details("Seconds", table("Seconds", ("part", "seconds"), seconds)))
    for key, name in (
        ("model", "Model"),
        ("hyperparameters", "Hyperparameters"),
        ("start", "Where training started"),
        ("versions", "Versions"),
    ):
        named = metrics.get(key)
        # An evaluation may name its model by the file alone.
        rows = list(_settings({"file": named} if isinstance(named, str) else section(metrics, key)))[:_SETTINGS]
        if rows:
            parts.append(details(name, table(name, ("name", "value"), rows, texts=True)))
    return "".join(parts)


def _seconds(timings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the phases of the job, and the parts of its epochs added up."""
    for name, value in timings.items():
        if (seconds := number(value)) is not None:
            yield escape(name), f"{seconds:,.1f}"
    epochs = timings.get("epochs")
    entries = [entry for entry in epochs if isinstance(entry, Mapping)] if isinstance(epochs, list) else []
    for name in dict.fromkeys(name for entry in entries for name in entry if name != "epoch"):
        total = sum(number(entry.get(name)) or 0.0 for entry in entries)
        yield escape(f"epochs: {name}"), f"{total:,.1f}"


def _settings(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, list | tuple):
            value = ", ".join(map(str, value[:100]))
        yield escape(key), escape(value if value not in ("", None) else "–", 300)
