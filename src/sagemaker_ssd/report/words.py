"""What stands out in the figures of a job, in sentences."""

from typing import Any, Final

import numpy as np

from sagemaker_ssd.report.matching import Matched

_FEW_IMAGES, _FEW_OBJECTS, _SHOWN = 100, 20, 6
# Below it all classes are weak.
_LITTLE: Final = 0.1


def what_stands_out(metrics: dict[str, Any], matched: Matched | None, table: Any) -> list[str]:
    """Return sentences, the most important first; nothing where nothing stands out."""
    sentences: list[str] = []
    figures = metrics.get("best")
    if figures:
        sentences += _of_classes(figures) + _of_data(figures)
    if figures and matched is not None:
        sentences += _of_confusion(figures, table)
    return sentences + _of_epochs(metrics)


def _of_classes(figures: dict[str, Any]) -> list[str]:
    classes, sentences = figures["classes"], []
    if not figures["detections"]:
        return ["Nothing at all is detected: the network has learned too little. Train longer, or from weights."]
    there = [one for one in classes if one["objects"]]
    silent = [one["name"] for one in there if not one["detections"]]
    if silent:
        sentences.append(f"Never detected: {_some(silent)}. Look whether they are rare, small, or labelled otherwise.")
    weak = [
        one["name"]
        for one in there
        if one["detections"] and figures["mAP"] > _LITTLE and (one["average_precision"] or 0) < figures["mAP"] / 2
    ]
    if weak:
        sentences.append(f"Far weaker than the mean (less than half of mAP {figures['mAP']:.2f}): {_some(weak)}.")
    absent = [one["name"] for one in classes if not one["objects"]]
    if absent:
        sentences.append(f"Without an object in the validation data, so not in the mean: {_some(absent)}.")
    return sentences


def _of_data(figures: dict[str, Any]) -> list[str]:
    sentences = []
    if figures["images"] < _FEW_IMAGES:
        sentences.append(
            f"The validation data are only {figures['images']} images: differences of a few hundredths between epochs "
            "or jobs say little."
        )
    few = [one["name"] for one in figures["classes"] if 0 < one["objects"] < _FEW_OBJECTS]
    if few:
        sentences.append(f"Fewer than {_FEW_OBJECTS} objects to judge by: {_some(few)}.")
    unmatched = figures.get("unmatched_objects", 0)
    if unmatched > 0.02 * max(figures["objects"], 1):
        sentences.append(
            f"{unmatched:,} of {figures['objects']:,} objects overlap no anchor by half; mostly they are very small or "
            "very long. A larger image_shape, or images cut into tiles, helps small ones."
        )
    coco = figures.get("coco", {})
    small, large = coco.get("AP_small"), coco.get("AP_large")
    if small is not None and large is not None and small < large / 3:
        sentences.append(f"Small objects are much harder (COCO AP {small:.2f}) than large ones ({large:.2f}).")
    return sentences


def _of_confusion(figures: dict[str, Any], table: Any) -> list[str]:
    classes = len(table) - 1
    wrong = table[:classes, :classes] * (1 - np.eye(classes, dtype=np.int64))
    if not wrong.size or wrong.max() < 5:
        return []
    there, found = np.unravel_index(int(wrong.argmax()), wrong.shape)
    names = [one["name"] for one in figures["classes"]]
    total = max(int(table[there].sum()), 1)
    share = wrong[there, found] / total
    if share < 0.1:
        return []
    return [f"{names[there]} is taken for {names[found]} in {share:.0%} of its cases ({wrong[there, found]})."]


def _of_epochs(metrics: dict[str, Any]) -> list[str]:
    epochs = metrics.get("epochs", [])
    if len(epochs) < 4:
        return []
    scores, best = [epoch["validation"]["mAP"] for epoch in epochs], metrics["best_epoch"]
    losses = [epoch["train"]["cross_entropy"] + epoch["train"]["smooth_l1"] for epoch in epochs]
    if losses[-1] > losses[0]:
        return ["The training loss is higher at the end than at the start: try a lower learning_rate."]
    if best == len(epochs) - 1 and not metrics.get("ended_early") and scores[best] > 1.02 * max(scores[:-1]):
        return ["The mAP was still rising in the last epoch: more epochs are likely to help."]
    if len(epochs) - 1 - best >= len(epochs) // 2 and scores[-1] < 0.95 * scores[best]:
        return [
            f"The mAP has fallen since epoch {best} while the loss went on falling: the network learns the training "
            "images by heart. More images, or early_stopping, would help."
        ]
    return []


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
