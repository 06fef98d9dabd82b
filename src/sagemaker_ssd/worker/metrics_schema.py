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


class Coco(_Part):
    """pycocotools' twelve figures on the two COCO files; None where no object is of that size."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None


class BestClass(_Part):
    """A class of the saved model."""

    class_id: int
    name: str
    objects: int
    detections: int
    average_precision: float | None
    all_points: float | None
    coco: float | None
    recall: float | None


class Best(_Part):
    """The saved model, read back and held against validation: of what ground_truth.json and detections.json hold."""

    mAP: float
    mAP_all_points: float
    coco: Coco
    images: int
    objects: int
    detections: int
    overlap_threshold: float
    unmatched_objects: int
    classes: list[BestClass]
    definitions: dict[str, str]
    seconds: float


class Document(_Part):
    """metrics.json; `best` is there when a training has come to its end."""

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
    best: Best | None = None
