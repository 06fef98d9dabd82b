"""Writes the report of a training job or of an evaluation."""

from pathlib import Path
from typing import Any, Final

from sagemaker_ssd.report import charts, page, pictures
from sagemaker_ssd.report.matching import OVERLAP, Matched, best_threshold, confusion, match, rows_by_image
from sagemaker_ssd.report.words import what_stands_out

_ROWS: Final = 200


def write_report(
    path: Path,
    metrics: dict[str, Any],
    ground_truth: dict[str, Any],
    detections: list[dict[str, Any]],
    read_image: pictures.ReadImage,
) -> None:
    """Write the page, whole or not at all; raises OSError.

    metrics: the object of metrics.json, or its `best` alone, with no epochs. ground_truth, detections: COCO's instances
    and results. read_image: gives an image by its id.
    """
    names = [category["name"] for category in ground_truth["categories"]]
    objects, found = rows_by_image(ground_truth["annotations"], "ignore"), rows_by_image(detections, "score")
    matched = match(objects, found, len(names))
    threshold = best_threshold(matched)
    files = {image["id"]: image["file_name"] for image in ground_truth["images"]}
    scene = pictures.Scene(objects, found, matched, names, files, threshold, read_image)
    table = confusion(matched, threshold)
    text = page.page(
        _title(metrics),
        [
            _overview(metrics),
            page.section("What stands out", page.sentences(what_stands_out(metrics, matched, table))),
            _training(metrics),
            _classes(metrics),
            _detections(matched, names, table, threshold),
            _pictures(scene),
            _about(metrics),
        ],
    )
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _title(metrics: dict[str, Any]) -> str:
    chosen = metrics.get("hyperparameters", {})
    network = f"{chosen.get('base_network', 'SSD')} at {chosen.get('image_shape', '?')} px"
    return f"Training of {network}" if metrics.get("epochs") else f"Evaluation of {network}"


def _overview(metrics: dict[str, Any]) -> str:
    figures, shown = metrics.get("best", {}), []
    if figures:
        coco = figures["coco"]
        shown += [("mAP (VOC 2007)", page.cell(figures["mAP"])), ("COCO AP", page.cell(coco["AP"]))]
        shown += [("COCO AP50", page.cell(coco["AP50"])), ("validation images", page.cell(figures["images"]))]
    if metrics.get("epochs"):
        shown += [("best epoch", str(metrics["best_epoch"])), ("epochs", str(len(metrics["epochs"])))]
        shown.append(("training images", page.cell(metrics["data"]["train"]["images"])))
    return page.numbers(shown)


def _training(metrics: dict[str, Any]) -> str:
    epochs = metrics.get("epochs", [])
    if not epochs:
        return ""
    return page.section(
        "Training",
        page.pair(
            page.chart(charts.losses(epochs), "The losses of each epoch; both should fall."),
            page.chart(
                charts.precision_over_epochs(epochs, metrics["best_epoch"]),
                "The validation mAP of each epoch; the model of the best one is kept.",
            ),
        ),
    )


def _classes(metrics: dict[str, Any]) -> str:
    figures = metrics.get("best")
    if not figures:
        return ""
    ranked = sorted(figures["classes"], key=lambda one: -(one["average_precision"] or 0.0))
    there = [one for one in ranked if one["objects"]]
    heads = ["class", "AP (VOC 2007)", "AP (area)", "COCO AP", "recall", "objects", "detections"]
    keys = ("name", "average_precision", "all_points", "coco", "recall", "objects", "detections")
    rows = [[one[key] for key in keys] for one in ranked[:_ROWS]]
    left = f" The other {len(ranked) - _ROWS} are in metrics.json." if len(ranked) > _ROWS else ""
    return page.section(
        "Classes",
        page.table(heads, rows, f"The best first.{left}"),
        page.chart(
            charts.bars([one["name"] for one in there], [one["average_precision"] or 0.0 for one in there]),
            "Average precision of each class, the best first.",
        ),
    )


def _detections(matched: Matched, names: list[str], table: Any, threshold: float) -> str:
    if not len(matched.scores):
        return ""
    kept, part = charts.confusion_table(table, names)
    rows = [[name, *(int(count) for count in row)] for name, row in zip(kept, part, strict=True)]
    return page.section(
        "Detections",
        page.pair(
            page.chart(
                charts.precision_recall(matched, names),
                f"Precision and recall of the classes with most objects, at an overlap of {OVERLAP:g}.",
            ),
            page.chart(
                charts.score_histogram(matched, threshold),
                f"Scores of right and wrong detections. From {threshold:.2f} on, precision and recall are best.",
            ),
        ),
        page.table(
            ["is, below; found, to the right", *kept],
            rows,
            f"What was found for what, from a score of {threshold:.2f} on; the last row is what was found where "
            "nothing is, the last column what was missed.",
            diagonal=True,
        ),
    )


def _pictures(scene: pictures.Scene) -> str:
    groups = (
        ("Found best", pictures.best(scene)),
        ("The surest mistakes", pictures.surest_mistakes(scene)),
        ("Most missed", pictures.missed(scene)),
    )
    note = page.paragraph("Green, thick: what is there. Orange, thin: what was found, with its score.")
    parts = [f"<h3>{title}</h3>{page.pictures(found)}" for title, found in groups if found]
    return page.section("Pictures", note, *parts) if parts else ""


def _about(metrics: dict[str, Any]) -> str:
    definitions = metrics.get("best", {}).get("definitions", {})
    chosen = [[name, value] for name, value in sorted(metrics.get("hyperparameters", {}).items()) if name[0] != "_"]
    return page.section(
        "How it was measured",
        page.sentences([f"{name}: {text}." for name, text in definitions.items()]),
        page.folded("Hyperparameters", page.table(["name", "value"], chosen, "Those of the job.")) if chosen else "",
    )
