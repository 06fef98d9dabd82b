"""All hyperparameters of a job, typed, and the flat strings that the built-in's users know them as."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from sagemaker_ssd.contract.specification import (
    Fraction,
    Number,
    Positive,
    SpecifiedHyperparameters,
    WholeNumber,
)
from sagemaker_ssd.contract.values import LARGEST_WHOLE_NUMBER, check_precision
from sagemaker_ssd.contract.wording import written

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


Precision = Annotated[Literal["float32", "bfloat16"], BeforeValidator(check_precision)]


class OwnHyperparameters(BaseModel):
    """What this image offers beside the specification; all of it optional."""

    nms_topk: Positive = Field(
        400, description="detections of an image, best scores first, that non-maximum suppression looks at"
    )
    seed: Annotated[WholeNumber, Field(ge=0, le=LARGEST_WHOLE_NUMBER)] = Field(
        0, description="seed of the job's random numbers"
    )
    precision_dtype: Precision = Field(
        "float32",
        description="number format of the training step; bfloat16: faster, on CPUs with AVX512-BF16 alone",
    )
    clip_gradient: Annotated[Number, Field(gt=0)] | None = Field(
        None, description="gradients are cut to the range from minus this to plus this"
    )
    warmup_epochs: Annotated[WholeNumber, Field(ge=0)] = Field(
        0, description="epochs in which the learning rate climbs to `learning_rate`"
    )
    max_bad_images: Fraction = Field(
        0.01, description="share of a channel's images that may fail to decode before the job stops"
    )


class PlatformKeys(BaseModel):
    """Private keys that the service or the console sends along; defaults as in the built-in's container."""

    tuning_objective_metric: str = Field("", alias="_tuning_objective_metric")
    kvstore: str = Field("device", alias="_kvstore")
    num_kv_servers: str = Field("auto", alias="_num_kv_servers")
    begin_epoch: str = Field("0", alias="_begin_epoch")


class Hyperparameters(PlatformKeys, OwnHyperparameters, SpecifiedHyperparameters):
    """Every hyperparameter, checked and typed; built from typed values or from plain strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def final_configuration(self) -> dict[str, str]:
        """Give every value as a flat string under its name in hyperparameters.json."""
        return {field.alias or name: written(getattr(self, name), field) for name, field in _declared().items()}

    def artifact_configuration(self) -> dict[str, str]:
        """Give the final configuration under exactly the keys of the built-in's hyperparams.json."""
        return {name: value for name, value in self.final_configuration().items() if name in ARTIFACT_KEYS}

    @staticmethod
    def default_configuration() -> dict[str, str]:
        """Give the defaults alone as flat strings; what is required is an empty string."""
        return {
            field.alias or name: "" if field.is_required() else written(field.default, field)
            for name, field in _declared().items()
        }


def known_fields() -> dict[str, FieldInfo]:
    """Give every declared field under its name in hyperparameters.json."""
    return {field.alias or name: field for name, field in _declared().items()}


def _declared() -> dict[str, FieldInfo]:
    return {
        **SpecifiedHyperparameters.model_fields,
        **OwnHyperparameters.model_fields,
        **PlatformKeys.model_fields,
    }
