"""The sections of the page, in its order: head, training, classes, right and wrong, pictures, settings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sagemaker_ssd.boxes import Indices
from sagemaker_ssd.errors import in_words
from sagemaker_ssd.report.analysis import BACKGROUND, CLASSIFICATION, DUPLICATE, LOCALIZATION, Analysis
from sagemaker_ssd.report.charts import LINES, LOSSES, MEANS, epoch_chart, precision_recall_chart, score_chart
from sagemaker_ssd.report.metrics_file import (
    ClassFigures,
    EpochFigures,
    ModelFigures,
    hyperparameter,
    kept_model,
    nested,
    read_epochs,
    validation_since,
)
from sagemaker_ssd.report.page import details, figure, paragraph, side_by_side, table, tiles
from sagemaker_ssd.report.pictures import Choice, ReadImage, best_images, false_detections, missed_objects, picture
from sagemaker_ssd.report.wording import digits, escape, number, percent, quoted

# Rows of the tables of epochs and of classes, of the confusions where classes are many, and of each table of settings.
_TABLE_EPOCHS = 200
_TABLE_CLASSES = 300
_TABLE_CONFUSIONS = 20
_TABLE_SETTINGS = 200
# Classes that the confusion matrix has room for.
_MATRIX_CLASSES = 15
_CLASS_HEADER = (
    *("class", "AP (VOC 2007)", "AP, all points", "COCO AP"),
    *("boxes", "found", "recall", "missed", "wrong", "detections"),
)
# Figures over all classes, by their keys in the entry of the kept model.
_MEANS = {
    "mAP": "mAP (VOC 2007)",
    "mAP_all_points": "mAP, all points",
    "mAP_coco": "COCO AP",
    "AP50": "COCO AP at IoU 0.50",
    "AP75": "COCO AP at IoU 0.75",
    "AP_small": "COCO AP, small objects",
    "AP_medium": "COCO AP, medium objects",
    "AP_large": "COCO AP, large objects",
    "AR_100": "COCO AR, 100 detections",
    "recall": "recall at any score",
}
_NO_FIGURES = ClassFigures(None, None, None)
_KINDS = (
    (BACKGROUND, "where nothing is labelled"),
    (CLASSIFICATION, "on an object of another class"),
    (LOCALIZATION, "on an object of the class, but not fitting it"),
    (DUPLICATE, "a second time on the same object"),
)
# Of boxes in pictures: their classes in the style sheet, and what they are.
_LEGEND = (
    ("object", "object, as labelled"),
    ("object focus", "object that is missed"),
    ("right", "right detection"),
    ("wrong", "wrong detection"),
)


def title(metrics: Mapping[str, Any]) -> str:
    """Return the page's title."""
    network, shape = nested(metrics, "hyperparameters").get("base_network"), hyperparameter(metrics, "image_shape")
    what = "Training" if metrics.get("epochs") else "Evaluation"
    named = f" of {network}" if network else ""
    return f"{what}{named}{f' at {shape:.0f} pixels' if shape else ''}: object detection"


def introduction(metrics: Mapping[str, Any], analysis: Analysis, figures: ModelFigures) -> str:
    """Return the figures at the head of the page."""
    train = nested(metrics, "data", "train")
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
    data += in_words(len(validation.class_ids), "class", "classes")
    shown.append(("validation data", data if validation.images else "none"))
    return tiles(shown)


def detections_paragraph(metrics: Mapping[str, Any]) -> str:
    """Say which detections the figures of an evaluation are of; empty where its document does not tell."""
    kind, definition = metrics.get("detections"), nested(metrics, "definitions").get("detections")
    return paragraph(f"Detections of {kind}: {definition}.") if kind and definition else ""


def progress_title(metrics: Mapping[str, Any]) -> str:
    """Return the title of the page of a job that is under way."""
    asked = hyperparameter(metrics, "epochs")
    done = len(metrics.get("epochs") or ())
    return f"{title(metrics)}, {done} of {asked:.0f} epochs" if asked else title(metrics)


def progress_introduction(metrics: Mapping[str, Any]) -> str:
    """Return the figures at the head of the page of a job that is under way, and what the page is."""
    epochs = read_epochs(metrics)
    shown = [("best validation mAP so far", digits(number(metrics.get("best_mAP"))))]
    if epochs:
        shown.append((f"best epoch, of 0 to {epochs[-1].epoch}", digits(number(metrics.get("best_epoch")), 0)))
        latest = nested(metrics["epochs"][-1], "train")
        shown.append(("images a second, latest epoch", digits(number(latest.get("images_per_second")), 1)))
    for channel, what in (("train", "training data"), ("validation", "validation data")):
        counts = nested(metrics, "data", channel)
        if counts:
            shown.append((what, _data(counts.get("images"), counts.get("boxes"))))
    return tiles(shown) + paragraph(
        "This page is renewed after every epoch, and is what a job leaves that is stopped or fails. When the training "
        "is done a larger one takes its place in output/data, with pictures and with figures of the kept model."
    )


def _data(images: Any, boxes: Any) -> str:
    counts = [(images, "image", "images"), (boxes, "box", "boxes")]
    return ", ".join(in_words(int(count), one, many) for count, one, many in counts if number(count) is not None)


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
    note, since = "", validation_since(metrics)
    if since:
        earlier = "Epoch 0 was" if since == 1 else f"Epochs 0 to {since - 1} were"
        kept = f", but for that of epoch {best}, which was scored anew" if best is not None and best < since else ""
        note = paragraph(
            f"{earlier} scored on other validation data, before the job went on with those of "
            f"now: their mAP does not compare and is left out{kept}."
        )
    caption = "Figures of every epoch" if step == 1 else f"Figures of every {step}th epoch; metrics.json has all"
    header = ("epoch", "cross-entropy", "smooth L1", "mAP (VOC 2007)", "COCO AP")
    return side_by_side(*charts) + note + details("The figures of the epochs", table(caption, header, rows))


def class_section(metrics: Mapping[str, Any], analysis: Analysis, figures: ModelFigures) -> str:
    """Return the table of the classes, lowest AP first, and their curves; empty without validation images."""
    if not analysis.validation.images or not analysis.validation.class_ids:
        return ""
    order = _order(analysis, figures)
    shown = order[:_TABLE_CLASSES]
    train = nested(metrics, "data", "train").get("boxes_per_class")
    boxes = train if isinstance(train, Sequence) else None
    header = (*_CLASS_HEADER, "boxes in train") if boxes is not None else _CLASS_HEADER
    caption = "Classes, lowest AP first"
    if len(order) > len(shown):
        caption += f": {len(shown)} of {len(order):,}; metrics.json has all"
    text = (
        f"Found, missed and wrong are counted for detections with a score of {analysis.score_threshold:.2f} or more, "
        f"the score with the best balance of found and wrong (F1); a detection is right when its overlap (IoU) with an "
        f"object of its class is {analysis.overlap_threshold:g} or more. Difficult objects do not count."
    )
    if analysis.left_out is not None:
        text += (
            f" Of the {int(analysis.detections.sum()):,} detections the {len(analysis.validation.scores):,} with the "
            "highest scores are counted and drawn on this page; AP and the column “detections” are of all."
        )
    listed = table(caption, header, (_row(analysis, figures, place, boxes) for place in shown))
    return paragraph(text) + listed + side_by_side(_curves(analysis, order), _means(metrics))


def epoch_class_section(metrics: Mapping[str, Any], class_names: Sequence[str]) -> str:
    """Return the classes' figures after the best epoch, lowest AP first, as the evaluation of that epoch has them."""
    entry = kept_model(metrics)
    classes = [each for each in entry.get("classes") or () if isinstance(each, Mapping)]
    if not classes:
        return ""

    def key(of_class: Mapping[str, Any]) -> tuple[bool, float]:
        score = number(of_class.get("average_precision"))
        return (score is None, score or 0.0)

    rows = [
        (
            escape(class_names[of_class["class_id"]]),
            _bar(number(of_class.get("average_precision"))),
            digits(number(of_class.get("all_points"))),
            digits(number(of_class.get("coco"))),
            f"{of_class.get('boxes', 0):,}",
            f"{of_class.get('detections', 0):,}",
        )
        for of_class in sorted(classes, key=key)[:_TABLE_CLASSES]
    ]
    caption = f"Classes on the validation images after epoch {metrics.get('best_epoch')}, the best one, lowest AP first"
    if len(rows) < len(classes):
        caption += f": {len(rows)} of {len(classes):,}; metrics.json has all"
    return table(caption, ("class", "AP (VOC 2007)", "AP, all points", "COCO AP", "boxes", "detections"), rows)


def _order(analysis: Analysis, figures: ModelFigures) -> list[int]:
    """Classes by rising AP, those without ground truth at the end."""

    def key(place: int) -> tuple[bool, float, int]:
        score = figures.classes.get(analysis.validation.class_ids[place], _NO_FIGURES).voc07
        return (analysis.boxes[place] == 0, score or 0.0, place)

    return sorted(range(len(analysis.validation.class_ids)), key=key)


def _row(analysis: Analysis, figures: ModelFigures, place: int, train: Sequence[Any] | None) -> list[str]:
    class_id = analysis.validation.class_ids[place]
    of_class = figures.classes.get(class_id, _NO_FIGURES)
    boxes, right = int(analysis.boxes[place]), int(analysis.true_positives[place])
    cells = [
        escape(analysis.validation.class_names[place]),
        _bar(of_class.voc07),
        digits(of_class.all_points),
        digits(of_class.coco),
        f"{boxes:,}",
        f"{right:,}",
        percent(right, boxes) if boxes else "–",
        f"{boxes - right:,}",
        f"{analysis.false_positives[place]:,}",
        f"{analysis.detections[place]:,}",
    ]
    if train is not None:
        cells.append(f"{train[class_id]:,}" if 0 <= class_id < len(train) else "–")
    return cells


def _bar(score: float | None) -> str:
    if score is None:
        return "<td>–</td>"
    width = 100 * min(max(score, 0.0), 1.0)
    return f'<td class="bar">{digits(score)}<span><i style="width:{width:.1f}%"></i></span></td>'


def _means(metrics: Mapping[str, Any]) -> str:
    """Return the figures over all classes that metrics.json has, and how they are defined."""
    entry = kept_model(metrics)
    found = [(name, number(entry.get(key))) for key, name in _MEANS.items()]
    rows = [(escape(name), digits(value)) for name, value in found if value is not None]
    if not rows:
        return ""
    defined = nested(metrics, "definitions")
    words = [(escape(_MEANS.get(key, key.replace("_", " "))), escape(text, 500)) for key, text in defined.items()]
    listed = table("Figures over all classes", ("figure", "value"), rows)
    how = table("How they are defined", ("figure", "definition"), words, texts=True)
    return f"<h3>Over all classes</h3>{listed}" + (details("How they are defined", how) if words else "")


def _curves(analysis: Analysis, order: Sequence[int]) -> str:
    present = [place for place in order if analysis.curves[place] is not None]
    if not present or not np.any(analysis.detections):
        return ""
    drawn = present[: len(LINES)]
    lowest = "" if len(drawn) == len(present) else f" The {len(drawn)} with the lowest AP are drawn."
    caption = (
        "Precision over recall: going right, lower scores are let in, more objects are found and more detections are "
        f"wrong. The area under a line is the AP, up to how it is measured.{lowest}"
    )
    heading = f"<h3>Precision and recall of {in_words(len(present), 'class', 'classes')}</h3>"
    return heading + figure(precision_recall_chart("recall", analysis, drawn), caption)


def confusion_section(analysis: Analysis) -> str:
    """Return the confusion matrix, the kinds of mistakes and the scores; empty without objects or detections."""
    if not analysis.total_boxes or not len(analysis.validation.scores):
        return ""
    caption = (
        f"Scores of right and wrong detections, on a logarithmic scale. The dotted line is at "
        f"{analysis.score_threshold:.2f}, from where on detections are counted here."
    )
    chart = f"<h3>Scores</h3>{figure(score_chart('scores', analysis), caption)}"
    return _matrix(analysis) + _pairs(analysis) + side_by_side(chart, _kinds(analysis))


def _matrix(analysis: Analysis) -> str:
    """Rows are true classes, columns detected ones; of many classes those with the most mistakes, the rest as one."""
    names = analysis.validation.class_names
    chosen = _classes_of_matrix(analysis)
    size = len(chosen)
    rest = size < len(names)
    places = np.full(len(names) + 1, size, np.int64)
    places[chosen] = np.arange(size)
    places[len(names)] = size + rest
    counts = np.zeros((size + rest + 1, size + rest + 1), np.int64)
    truth, detected, count = analysis.mistakes.confusions.T
    np.add.at(counts, (places[truth], places[detected]), count)
    labels = [escape(names[number]) for number in chosen] + ["other classes"] * rest
    rows = [
        [label, *(_cell(counts[row], column, row) for column in range(len(counts)))]
        for row, label in enumerate([*labels, "nothing there"])
    ]
    text = (
        f"Each row has the objects of a class, by what they are detected as with a score of "
        f"{analysis.score_threshold:.2f} or more and an overlap of {analysis.overlap_threshold:g} or more. "
        "The last row has the other detections: on the background, too loose, or of an object that is found already."
    )
    caption = "Confusion matrix: true class down, detected class across"
    return paragraph(text) + table(caption, ["", *labels, "missed"], rows, style="confusion")


def _classes_of_matrix(analysis: Analysis) -> Indices:
    size = len(analysis.validation.class_ids)
    if size <= _MATRIX_CLASSES:
        return np.arange(size)
    truth, detected, count = analysis.mistakes.confusions.T
    between = (truth != detected) & (truth < size) & (detected < size)
    weights = np.bincount(truth[between], count[between], minlength=size)
    weights += np.bincount(detected[between], count[between], minlength=size)
    return np.sort(np.lexsort([np.arange(size), -analysis.boxes, -weights])[:_MATRIX_CLASSES])


def _cell(counts: Indices, column: int, row: int) -> str:
    count, total = int(counts[column]), int(counts.sum())
    if row == len(counts) - 1 == column or not count:
        return '<td class="zero">·</td>' if row == len(counts) - 1 == column else '<td class="zero">0</td>'
    colour = "right" if row == column else "wrong"
    return f'<td style="background:rgb(var(--{colour}-fill) / {0.08 + 0.47 * count / total:.2f})">{count:,}</td>'


def _pairs(analysis: Analysis) -> str:
    """With too many classes for the matrix, what is most often taken for what."""
    names = analysis.validation.class_names
    if len(names) <= _MATRIX_CLASSES:
        return ""
    truth, detected, count = analysis.mistakes.confusions.T
    rows = np.flatnonzero((truth != detected) & (truth < len(names)) & (detected < len(names)))
    rows = rows[np.argsort(-count[rows], kind="stable")][:_TABLE_CONFUSIONS]
    listed: Sequence[Sequence[str]] = [
        (
            escape(quoted(names[truth[row]])),
            escape(quoted(names[detected[row]])),
            f"{count[row]:,}",
            f"{analysis.boxes[truth[row]]:,}",
        )
        for row in rows
    ]
    header = ("true class", "detected as", "times", "of boxes")
    return table("The most frequent confusions", header, listed) if listed else ""


def _kinds(analysis: Analysis) -> str:
    wrong = len(analysis.mistakes.false_positives)
    if not wrong:
        return ""
    counts = np.bincount(analysis.mistakes.kinds, minlength=len(_KINDS))
    rows = [(name, f"{counts[kind]:,}", percent(int(counts[kind]), wrong)) for kind, name in _KINDS]
    caption = f"Where the {in_words(wrong, 'wrong detection', 'wrong detections')} {'is' if wrong == 1 else 'are'}"
    return "<h3>Wrong detections</h3>" + table(caption, ("where", "detections", "share"), rows)


def picture_section(analysis: Analysis, read_image: ReadImage) -> str:
    """Return the best, the most wrong and the missed; empty without objects or detections to show."""
    if not len(analysis.validation.objects) and not len(analysis.validation.scores):
        return ""
    best, false = best_images(analysis), false_detections(analysis)
    groups = [
        ("Images with the best detections", best),
        ("Wrong detections with the highest scores", false),
        ("Missed objects, the largest of each class first", missed_objects(analysis, {each.image for each in false})),
    ]
    text = (
        f"Detections with a score of {analysis.score_threshold:.2f} or more. Where one box is to be looked at, the "
        "picture shows the part of the image around it. What is wrong may also be a fault of the labels."
    )
    drawn = "".join(_group(title, choices, analysis, read_image) for title, choices in groups)
    return paragraph(text) + _legend() + drawn if drawn else ""


def _group(title: str, choices: Sequence[Choice], analysis: Analysis, read_image: ReadImage) -> str:
    if not choices:
        return ""
    figures = "\n".join(picture(analysis, choice, read_image) for choice in choices)
    return f'<h3>{title}</h3>\n<div class="pictures">{figures}</div>\n'


def _legend() -> str:
    entries = "".join(
        f'<li><svg class="picture" viewBox="0 0 44 26" aria-hidden="true"><rect width="44" height="26" '
        f'style="fill:#6b7680"/><rect class="casing" x="5" y="5" width="34" height="16"/>'
        f'<rect class="box {kind}" x="5" y="5" width="34" height="16"/></svg>{name}</li>'
        for kind, name in _LEGEND
    )
    return f'<ul class="legend">{entries}</ul>\n'


def settings_section(metrics: Mapping[str, Any]) -> str:
    """Return what it takes to run the job again; empty where metrics.json says nothing of it."""
    parts = []
    data = nested(metrics, "data")
    keys = ("images", "boxes", "images_without_objects")
    counts = [
        (escape(channel), *(f"{count:,.0f}" if (count := number(each.get(key))) is not None else "–" for key in keys))
        for channel, each in data.items()
        if isinstance(each, Mapping)
    ]
    if counts:
        parts.append(table("Data", ("channel", "images", "boxes", "images without objects"), counts))
    seconds = list(_seconds(nested(metrics, "timings")))
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
        told: Mapping[str, Any] = {"file": named} if isinstance(named, str) else nested(metrics, key)
        if key == "model" and "detection_dtype" in metrics:
            told = {**told, "detection_dtype": metrics["detection_dtype"]}
        rows = list(_settings(told))[:_TABLE_SETTINGS]
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
