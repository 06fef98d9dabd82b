"""Every hyperparameter's type, range, default and meaning, declared here and nowhere else.

From the declarations come the typed values of a job, the flat strings of the built-in's hyperparams.json, the texts of
the faults and the README's table.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from sagemaker_ssd.contract.hyperparameter_text import Spelling, allowed_values, format_value
from sagemaker_ssd.contract.hyperparameter_values import (
    INT32_MAX,
    LARGEST_IMAGE_SHAPE,
    LARGEST_NUMBER_OF_CLASSES,
    SMALLEST_IMAGE_SHAPE,
    check_classes_of_network,
    check_image_shape,
    check_increasing,
    check_pattern,
    check_precision,
    parse_bool,
    parse_float,
    parse_image_shape,
    parse_int,
    parse_ints,
    parse_kv_store,
    parse_num_classes,
)

Int = Annotated[int, BeforeValidator(parse_int)]
PositiveInt = Annotated[Int, Field(ge=1)]
Float = Annotated[float, BeforeValidator(parse_float)]
Fraction = Annotated[Float, Field(ge=0, le=1)]
PositiveFraction = Annotated[Float, Field(gt=0, le=1)]
Bool = Annotated[bool, BeforeValidator(parse_bool)]
ImageShape = Annotated[int, BeforeValidator(parse_image_shape), Field(ge=SMALLEST_IMAGE_SHAPE, le=LARGEST_IMAGE_SHAPE)]
NumClasses = Annotated[int, BeforeValidator(parse_num_classes), Field(ge=1, le=LARGEST_NUMBER_OF_CLASSES)]
ZeroOrOne = Annotated[bool, BeforeValidator(parse_bool), Spelling(true="1", false="0")]
Steps = Annotated[tuple[PositiveInt, ...], BeforeValidator(parse_ints), AfterValidator(check_increasing)]
Pattern = Annotated[str, AfterValidator(check_pattern)]
KVStore = Annotated[
    Literal["dist_sync", "dist_async"] | None, BeforeValidator(parse_kv_store), Spelling(not_set="device")
]
Precision = Annotated[Literal["float32", "bfloat16"], BeforeValidator(check_precision)]


class SpecifiedHyperparameters(BaseModel):
    """The built-in's 22 hyperparameters.

    Names, ranges and defaults: AWS developer guide, "Object Detection Hyperparameters".
    """

    num_classes: NumClasses = Field(
        description="classes in the data, background not counted; with resnet-50 at most 19417 are possible"
    )
    num_training_samples: PositiveInt = Field(
        description="training images in the data; compared with the count, which is what the job uses"
    )
    base_network: Literal["vgg-16", "resnet-50"] = Field("vgg-16", description="network below the detection heads")
    early_stopping: Bool = Field(
        False, description="end the job before the last epoch when validation:mAP no longer rises"
    )
    early_stopping_min_epochs: PositiveInt = Field(10, description="epochs that early stopping lets pass first")
    early_stopping_patience: PositiveInt = Field(
        5, description="epochs in a row without improvement that early stopping waits for"
    )
    early_stopping_tolerance: Fraction = Field(
        0.0, description="rise of validation:mAP, as a share of that of the last improvement, that is an improvement"
    )
    image_shape: ImageShape = Field(
        300,
        description="side in pixels of the square that images are resized to; usual are 300 and 512, and with vgg-16 "
        "at most 5792 is possible",
    )
    epochs: PositiveInt = Field(30, description="passes over the training data")
    freeze_layer_pattern: Pattern | None = Field(
        None,
        description="parameters whose name matches from its start are not trained, such as `^(conv1_|conv2_).*`",
    )
    kv_store: KVStore = Field(
        None, description="how several hosts exchange their updates: needed on several, not applicable on one"
    )
    label_width: PositiveInt = Field(
        350, description="numbers that a label is padded to: 2, and 5 for every object of the fullest image"
    )
    learning_rate: PositiveFraction = Field(0.001, description="learning rate at the start")
    lr_scheduler_factor: Annotated[Float, Field(gt=0, lt=1)] = Field(
        0.1, description="what the learning rate is multiplied by at each epoch of `lr_scheduler_step`"
    )
    lr_scheduler_step: Steps = Field((), description="epochs after which the learning rate is reduced")
    mini_batch_size: PositiveInt = Field(32, description="images in a batch of one host, shared by its GPUs")
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
    use_pretrained_model: ZeroOrOne = Field(
        True, description="start from pre-trained weights (1) or from random ones (0)"
    )
    weight_decay: Annotated[Float, Field(ge=0, lt=1)] = Field(
        0.0005, description="weight decay of sgd and rmsprop; the other optimizers ignore it"
    )

    @field_validator("base_network")
    @classmethod
    def _holds_classes(cls, value: str, info: ValidationInfo) -> str:
        # A number of classes that is none has a fault of its own.
        check_classes_of_network(value, info.data.get("num_classes", 1))
        return value

    @field_validator("image_shape", mode="before")
    @classmethod
    def _fits_base_network(cls, value: object, info: ValidationInfo) -> object:
        side = parse_image_shape(value)
        # A network that is none has a fault of its own.
        return check_image_shape(side, info.data.get("base_network", "resnet-50")) if isinstance(side, int) else side


class OwnHyperparameters(BaseModel):
    """What this image offers in addition; all of it optional."""

    nms_topk: PositiveInt = Field(
        400, description="detections of an image, best scores first, that non-maximum suppression looks at"
    )
    seed: Annotated[Int, Field(ge=0, le=INT32_MAX)] = Field(0, description="seed of the job's random numbers")
    precision_dtype: Precision = Field(
        "float32",
        description="number format of the training step; bfloat16 is used on CPUs where a measurement finds it faster",
    )
    clip_gradient: Annotated[Float, Field(gt=0)] | None = Field(
        None, description="gradients are cut to the range from minus this to plus this"
    )
    warmup_epochs: Annotated[Int, Field(ge=0)] = Field(
        0, description="epochs in which the learning rate climbs to `learning_rate`"
    )
    max_bad_images: Fraction = Field(
        0.01, description="share of a channel's images that may fail to decode before the job stops"
    )


class PlatformKeys(BaseModel):
    """Private keys that the service or the console adds; defaults as in the built-in's container."""

    tuning_objective_metric: str = Field("", alias="_tuning_objective_metric")
    kvstore: str = Field("device", alias="_kvstore")
    num_kv_servers: str = Field("auto", alias="_num_kv_servers")
    begin_epoch: str = Field("0", alias="_begin_epoch")


# The keys of the hyperparams.json in a genuine model.tar.gz of the built-in:
# aws-samples/amazon-sagemaker-aws-greengrass-custom-object-detection-model at b014eeb,
# greengrass/run_model/resources/ml/od.
ARTIFACT_KEYS: Final = frozenset(
    {
        "_kvstore",
        "_num_kv_servers",
        "_tuning_objective_metric",
        "base_network",
        "early_stopping",
        "early_stopping_min_epochs",
        "early_stopping_patience",
        "early_stopping_tolerance",
        "epochs",
        "freeze_layer_pattern",
        "image_shape",
        "kv_store",
        "label_width",
        "learning_rate",
        "lr_scheduler_factor",
        "lr_scheduler_step",
        "mini_batch_size",
        "momentum",
        "nms_threshold",
        "nms_topk",
        "num_classes",
        "num_training_samples",
        "optimizer",
        "overlap_threshold",
        "use_pretrained_model",
        "weight_decay",
    }
)


class Hyperparameters(PlatformKeys, OwnHyperparameters, SpecifiedHyperparameters):
    """Every hyperparameter, checked and typed; built from typed values or from plain strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def smaller_batch_size(self) -> int | None:
        """The mini_batch_size to try where memory is too small: half of what a step takes now, None where that is one.

        A step takes no more images than there are.
        """
        return min(self.mini_batch_size, self.num_training_samples) // 2 or None

    def final_configuration(self) -> dict[str, str]:
        """Give every value as a flat string under its name in hyperparameters.json."""
        return {field.alias or name: format_value(getattr(self, name), field) for name, field in _declared().items()}

    def artifact_configuration(self) -> dict[str, str]:
        """Give the final configuration under exactly the keys of the built-in's hyperparams.json."""
        return {name: value for name, value in self.final_configuration().items() if name in ARTIFACT_KEYS}

    @staticmethod
    def default_configuration() -> dict[str, str]:
        """Give the defaults alone as flat strings; what is required is an empty string."""
        return {
            field.alias or name: "" if field.is_required() else format_value(field.default, field)
            for name, field in _declared().items()
        }


def parse_value(name: str, text: str) -> object:
    """Parse the value of one hyperparameter as `Hyperparameters` does; raises ValueError."""
    field = known_fields()[name]
    kind: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(kind).validate_python(text)


def known_fields() -> dict[str, FieldInfo]:
    """Give every declared field under its name in hyperparameters.json."""
    return {field.alias or name: field for name, field in _declared().items()}


def _declared() -> dict[str, FieldInfo]:
    return {
        **SpecifiedHyperparameters.model_fields,
        **OwnHyperparameters.model_fields,
        **PlatformKeys.model_fields,
    }


def hyperparameter_table() -> str:
    """Give a GitHub markdown table of name, allowed values, default and meaning; ours are marked."""
    lines = ["| name | allowed | default | meaning |", "|---|---|---|---|"]
    for model, remark in ((SpecifiedHyperparameters, ""), (OwnHyperparameters, " (not documented for the built-in)")):
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else f"`{format_value(field.default, field)}`"
            if not field.is_required() and field.default in (None, ()):
                default = "not set"
            cells = (f"`{name}`", allowed_values(field), default, f"{field.description}{remark}")
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
