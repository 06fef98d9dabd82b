"""Writes the report: one HTML file of the training, its model and what the model detects on validation images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagemaker_ssd.files import atomic_write
from sagemaker_ssd.report.analysis import analyse
from sagemaker_ssd.report.findings import data_findings, detection_findings, training_findings
from sagemaker_ssd.report.metrics_file import (
    detection_counts,
    hyperparameter,
    kept_model,
    read_epochs,
    read_model_figures,
)
from sagemaker_ssd.report.page import bullets, page, paragraph
from sagemaker_ssd.report.pictures import ReadImage
from sagemaker_ssd.report.sections import (
    class_section,
    confusion_section,
    detections_paragraph,
    epoch_class_section,
    introduction,
    picture_section,
    progress_introduction,
    progress_title,
    settings_section,
    title,
    training_section,
)
from sagemaker_ssd.report.wording import number

# VOC's, where metrics.json names none.
_OVERLAP_THRESHOLD = 0.5


def write_report(
    path: Path,
    metrics: Mapping[str, Any],
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    read_image: ReadImage,
) -> None:
    """Write one HTML file that needs no other, of less than 5 MB; the same input gives the same bytes.

    `metrics` is the object of metrics.json, of which any key may be missing. `ground_truth` (images, annotations,
    categories) and `detections` are COCO's ground truth and results: boxes x, y, width, height in pixels, `ignore` 1
    for difficult objects. Where `metrics` counts more detections, these are the ones with the highest scores.
    `read_image` gives the image with an id as boxes see it; it is called at most 15 times, and whatever it raises
    becomes a sentence in the place of the picture. The file appears whole or not at all.
    """
    overlap = number(kept_model(metrics).get("overlap_threshold")) or hyperparameter(metrics, "overlap_threshold")
    analysis = analyse(ground_truth, detections, overlap or _OVERLAP_THRESHOLD, counts=detection_counts(metrics))
    epochs = read_epochs(metrics)
    figures = read_model_figures(metrics, analysis.validation.class_ids, analysis.curves)
    said = [
        *training_findings(metrics, epochs),
        *detection_findings(analysis, figures),
        *data_findings(metrics, epochs, analysis),
    ]
    findings = bullets(said) if said else paragraph("Nothing unusual was found.")
    document = page(
        title(metrics),
        introduction(metrics, analysis, figures) + detections_paragraph(metrics),
        [
            ("findings", "What stands out", findings),
            ("training", "Training", training_section(metrics, epochs)),
            ("classes", "Classes", class_section(metrics, analysis, figures)),
            ("mistakes", "Right and wrong", confusion_section(analysis)),
            ("pictures", "Pictures", picture_section(analysis, read_image)),
            ("settings", "Settings and data", settings_section(metrics)),
        ],
    )
    with atomic_write(path) as part:
        part.write_text(document, encoding="utf-8")


def progress_page(metrics: Mapping[str, Any], class_names: Sequence[str]) -> str:
    """Return the page of a job that is under way: what metrics.json says after an epoch, without pictures.

    class_names: by class_id.
    """
    return page(
        progress_title(metrics),
        progress_introduction(metrics),
        [
            ("training", "Training", training_section(metrics, read_epochs(metrics))),
            ("classes", "Classes", epoch_class_section(metrics, class_names)),
            ("settings", "Settings and data", settings_section(metrics)),
        ],
    )
