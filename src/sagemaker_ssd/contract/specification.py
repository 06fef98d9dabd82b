"""The built-in's 22 hyperparameters: type, range, default and meaning, each declared here and nowhere else.

Names, ranges and defaults: AWS developer guide, "Object Detection Hyperparameters".
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from sagemaker_ssd.contract.values import (
    check_pattern,
    check_rising,
    read_kv_store,
    read_number,
    read_switch,
    read_whole_number,
    read_whole_numbers,
)
from sagemaker_ssd.contract.wording import Spelling

WholeNumber = Annotated[int, BeforeValidator(read_whole_number)]
Number = Annotated[float, BeforeValidator(read_number)]
Positive = Annotated[WholeNumber, Field(ge=1)]
PositiveFraction = Annotated[Number, Field(gt=0, le=1)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
TrueOrFalse = Annotated[bool, BeforeValidator(read_switch)]
Steps = Annotated[tuple[Positive, ...], BeforeValidator(read_whole_numbers), AfterValidator(check_rising)]
Pattern = Annotated[str, AfterValidator(check_pattern)]

UsePretrained = Annotated[bool, BeforeValidator(read_switch), Spelling(true="1", false="0")]
KVStore = Annotated[
    Literal["dist_sync", "dist_async"] | None, BeforeValidator(read_kv_store), Spelling(not_set="device")
]


class SpecifiedHyperparameters(BaseModel):
    """What the built-in's users know; names and meaning are theirs."""

    num_classes: Positive = Field(description="classes in the data, background not counted")
    num_training_samples: Positive = Field(
        description="training images in the data; compared with the count, which is what the job uses"
    )
    base_network: Literal["vgg-16", "resnet-50"] = Field("vgg-16", description="network below the detection heads")
    early_stopping: TrueOrFalse = Field(
        False, description="end the job before the last epoch when validation:mAP no longer rises"
    )
    early_stopping_min_epochs: Positive = Field(10, description="epochs that early stopping lets pass first")
    early_stopping_patience: Positive = Field(
        5, description="epochs in a row without improvement that early stopping waits for"
    )
    early_stopping_tolerance: Fraction = Field(
        0.0, description="rise of validation:mAP, as a share of that of the last improvement, that is an improvement"
    )
    image_shape: Annotated[WholeNumber, Field(ge=300)] = Field(
        300, description="side in pixels of the square that images are resized to; usual are 300 and 512"
    )
    epochs: Positive = Field(30, description="passes over the training data")
    freeze_layer_pattern: Pattern | None = Field(
        None,
        description="parameters whose name matches from its start are not trained, such as `^(conv1_|conv2_).*`",
    )
    kv_store: KVStore = Field(
        None, description="how several hosts exchange their updates: needed on several, not applicable on one"
    )
    label_width: Positive = Field(
        350, description="numbers that a label is padded to: 2, and 5 for every object of the fullest image"
    )
    learning_rate: PositiveFraction = Field(0.001, description="learning rate at the start")
    lr_scheduler_factor: Annotated[Number, Field(gt=0, lt=1)] = Field(
        0.1, description="what the learning rate is multiplied by at each epoch of `lr_scheduler_step`"
    )
    lr_scheduler_step: Steps = Field((), description="epochs after which the learning rate is reduced")
    mini_batch_size: Positive = Field(32, description="images in a batch of one host, shared by its GPUs")
    # AWS's tuning ranges of momentum and weight_decay start at 0, which the table there leaves out.
    momentum: Fraction = Field(0.9, description="momentum of sgd; the other optimizers ignore it")
    nms_threshold: PositiveFraction = Field(
        0.45, description="overlap from which only the better of two detections of a class is kept"
    )
    optimizer: Literal["sgd", "adam", "rmsprop", "adadelta"] = Field(
        "sgd", description="rule that turns gradients into updates"
    )
    overlap_threshold: PositiveFraction = Field(
        0.5, description="overlap (IoU) from which a detection counts as right in validation:mAP"
    )
    use_pretrained_model: UsePretrained = Field(
        True, description="start from ImageNet weights (1) or from random ones (0)"
    )
    weight_decay: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0005, description="weight decay of sgd and rmsprop; the other optimizers ignore it"
    )
