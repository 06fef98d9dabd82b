"""What stands in metrics.json, as a schema: `Document.model_json_schema()` gives it as JSON Schema."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Channel(_Part):
    """A channel's counts after its check, over all hosts."""

    images: int
    boxes: int
    boxes_per_class: list[int]
    images_without_objects: int


class TrainFigures(_Part):
    """An epoch's training: mean losses an anchor that counts; seconds, of which some waited for data."""

    cross_entropy: float
    smooth_l1: float
    batches: int
    images: int
    seconds: float
    seconds_waiting_for_data: float
    images_per_second: float


class EpochClass(_Part):
    """A class after an epoch; None without objects."""

    class_id: int
    boxes: int
    detections: int
    average_precision: float | None
    all_points: float | None
    coco: float | None


class EpochValidation(_Part):
    """The network after an epoch, with all of its detections."""

    mAP: float
    mAP_all_points: float
    mAP_coco: float
    classes: list[EpochClass]


class Epoch(_Part):
    """An epoch; learning_rate at its end."""

    epoch: int
    learning_rate: float | None
    train: TrainFigures
    validation: EpochValidation


class BestClass(_Part):
    """A class of the saved model."""

    class_id: int
    name: str
    boxes: int
    detections: int
    average_precision: float | None
    all_points: float | None
    coco: float | None
    recall: float | None


class Best(_Part):
    """The saved model, read back and held against validation: figures of ground_truth.json and detections.json alone.

    What each is stands under `definitions`; None where nothing is there to count.
    """

    mAP: float
    mAP_all_points: float
    mAP_coco: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR_100: float | None
    recall: float
    overlap_threshold: float
    images: int
    boxes: int
    detections: int
    classes: list[BestClass]


class Anchors(_Part):
    """How objects of validation fit the anchors: unmatched are those that none overlaps; sides in pixels."""

    boxes: int
    unmatched: int
    smallest: float
    below_smallest: int
    overlap: float


class Document(_Part):
    """metrics.json; best, definitions and anchors are there when a training has come to its end.

    timings: seconds of the phases of this run.
    """

    versions: dict[str, str]
    host: str
    hosts: list[str]
    hyperparameters: dict[str, str]
    start: dict[str, Any]
    data: dict[str, Channel]
    best_epoch: int
    best_mAP: float
    ended_early: bool
    epochs: list[Epoch]
    timings: dict[str, float]
    best: Best | None = None
    definitions: dict[str, str] | None = None
    anchors: Anchors | None = None
