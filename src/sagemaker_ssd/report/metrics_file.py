"""Reads from metrics.json, or an evaluation's document, what the report shows; any key may be missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagemaker_ssd.report.analysis import Curve
from sagemaker_ssd.report.wording import number


def nested(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the object below the keys, empty where there is none."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def hyperparameter(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return a hyperparameter that is a number; metrics.json has them as text."""
    try:
        return number(float(nested(metrics, "hyperparameters")[name]))
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class EpochFigures:
    """One epoch; None for a figure that is not there, and for those of other validation data."""

    epoch: int
    cross_entropy: float | None
    smooth_l1: float | None
    mean: float | None  # validation mAP
    coco: float | None


def validation_since(metrics: Mapping[str, Any]) -> int:
    """Return the first epoch on the validation data of now; of those before, the kept one alone was scored on them."""
    return int(number(metrics.get("validation_since")) or 0)


def read_epochs(metrics: Mapping[str, Any]) -> list[EpochFigures]:
    """Return every epoch, in the order of the file."""
    entries = metrics.get("epochs")
    if not isinstance(entries, Sequence):
        return []
    since, kept = validation_since(metrics), metrics.get("best_epoch")
    epochs = []
    for index, entry in enumerate(entries):
        epoch = int(entry.get("epoch", index))
        train = nested(entry, "train")
        validation = nested(entry, "validation") if epoch >= since or epoch == kept else {}
        epochs.append(
            EpochFigures(
                epoch,
                number(train.get("cross_entropy")),
                number(train.get("smooth_l1")),
                number(validation.get("mAP")),
                number(validation.get("mAP_coco")),
            )
        )
    return epochs


@dataclass(frozen=True)
class ClassFigures:
    """A class's average precision by three definitions, None for one that is not there."""

    voc07: float | None
    all_points: float | None
    coco: float | None


@dataclass(frozen=True)
class ModelFigures:
    """The kept model: means over the classes, and each class by its class_id."""

    mean: float | None
    all_points: float | None
    coco: float | None
    classes: dict[int, ClassFigures]


def read_model_figures(
    metrics: Mapping[str, Any], class_ids: Sequence[int], curves: Sequence[Curve | None]
) -> ModelFigures:
    """Return the best epoch's figures; those by VOC's definitions are computed where metrics.json has none."""
    entry = kept_model(metrics)
    listed = {
        int(of_class["class_id"]): ClassFigures(
            number(of_class.get("average_precision")),
            number(of_class.get("all_points")),
            number(of_class.get("coco")),
        )
        for of_class in entry.get("classes") or ()
    }
    own = {
        class_id: ClassFigures(curve.voc07, curve.all_points, None) if curve else ClassFigures(None, None, None)
        for class_id, curve in zip(class_ids, curves, strict=True)
    }
    # The log's figure first: that of the two COCO files can differ in the last digits.
    mean = next(
        (score for key in (metrics.get("best_mAP"), entry.get("mAP")) if (score := number(key)) is not None), None
    )
    every = {**own, **listed}
    return ModelFigures(
        mean if mean is not None else _mean([each.voc07 for each in every.values()]),
        number(entry.get("mAP_all_points", _mean([each.all_points for each in every.values()]))),
        number(entry.get("mAP_coco")),
        every,
    )


def kept_model(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entry with the figures of the model that is kept, empty where there is none."""
    for key in ("best", "validation"):
        if nested(metrics, key):
            return nested(metrics, key)
    best, epochs = metrics.get("best_epoch"), metrics.get("epochs")
    if isinstance(best, int) and isinstance(epochs, Sequence) and 0 <= best < len(epochs):
        return nested(epochs[best], "validation")
    return {}


def detection_counts(metrics: Mapping[str, Any]) -> dict[int, int]:
    """Return how many detections the kept model has, by class_id; empty where that is not told."""
    counts = {
        int(of_class["class_id"]): number(of_class.get("detections"))
        for of_class in kept_model(metrics).get("classes") or ()
    }
    return {class_id: int(count) for class_id, count in counts.items() if count is not None}


def _mean(figures: Sequence[float | None]) -> float | None:
    present = [each for each in figures if each is not None]
    return sum(present) / len(present) if present else None
