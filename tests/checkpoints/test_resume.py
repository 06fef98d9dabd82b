"""Which hyperparameters may differ between a checkpoint and the job that goes on from it."""

from pathlib import Path

import pytest

from sagemaker_ssd.checkpoints.resume import check_same_data, check_same_job
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.errors import UserError

CHECKPOINT = Path("/kept/sagemaker-ssd-0004.json")
REQUIRED = {"num_classes": "3", "num_training_samples": "10", "use_pretrained_model": "0"}
OTHER = {
    "base_network": "resnet-50",
    "clip_gradient": "5",
    "freeze_layer_pattern": "^conv1_",
    "image_shape": "512",
    "learning_rate": "0.01",
    "lr_scheduler_factor": "0.5",
    "lr_scheduler_step": "3,5",
    "mini_batch_size": "8",
    "momentum": "0.5",
    "nms_threshold": "0.4",
    "nms_topk": "100",
    "num_classes": "4",
    "optimizer": "adam",
    "overlap_threshold": "0.6",
    "precision_dtype": "bfloat16",
    "seed": "1",
    "use_pretrained_model": "1",
    "warmup_epochs": "1",
    "weight_decay": "0.1",
}
MAY_DIFFER = {
    "_begin_epoch": "3",
    "_kvstore": "dist_sync",
    "_num_kv_servers": "2",
    "_tuning_objective_metric": "validation:mAP",
    "early_stopping": "True",
    "early_stopping_min_epochs": "2",
    "early_stopping_patience": "2",
    "early_stopping_tolerance": "0.5",
    "epochs": "99",
    "kv_store": "dist_sync",
    "label_width": "500",
    "max_bad_images": "0.5",
    "num_training_samples": "11",
}


def configuration(**changes: str) -> dict[str, str]:
    return Hyperparameters.model_validate({**REQUIRED, **changes}).final_configuration()


def test_every_hyperparameter_is_of_one_kind():
    assert OTHER.keys() | MAY_DIFFER.keys() == configuration().keys()
    assert not OTHER.keys() & MAY_DIFFER.keys()


@pytest.mark.parametrize("name", MAY_DIFFER)
def test_these_may_differ(name: str):
    here = configuration(**{name: MAY_DIFFER[name]})
    assert here != configuration()
    check_same_job(here, configuration(), CHECKPOINT)


@pytest.mark.parametrize("name", OTHER)
def test_any_other_stops_the_job(name: str):
    here = configuration(**{name: OTHER[name]})
    with pytest.raises(UserError, match=f"\\n- {name} is .* here and was .* there$"):
        check_same_job(here, configuration(), CHECKPOINT)


def test_the_same_value_in_another_spelling_is_the_same():
    there = configuration(learning_rate="1e-3", lr_scheduler_step="[5, 10]", mini_batch_size="32.0")
    check_same_job(configuration(learning_rate="0.0010", lr_scheduler_step="5,10"), there, CHECKPOINT)


def test_all_differences_are_told_at_once_and_what_to_do():
    here = configuration(learning_rate="0.01", lr_scheduler_step="3,5", epochs="9")
    with pytest.raises(UserError) as caught:
        check_same_job(here, configuration(optimizer="adam"), CHECKPOINT)
    assert caught.value.sentence.splitlines() == [
        "/kept/sagemaker-ssd-0004.json is a checkpoint of a job with other hyperparameters, listed below. Set them as "
        "they were there to go on with that job; or name another folder for checkpoints (on SageMaker another "
        "CheckpointConfig.S3Uri), or empty this one, to start anew, perhaps from the finished model as the model "
        "channel.",
        "- learning_rate is '0.01' here and was '0.001' there",
        "- lr_scheduler_step is '3,5' here and was not set there",
        "- optimizer is 'sgd' here and was 'adam' there",
    ]


def test_what_an_older_version_lacks_has_its_default():
    older = configuration()
    del older["nms_topk"], older["weight_decay"]
    check_same_job(configuration(), older, CHECKPOINT)
    with pytest.raises(UserError, match="- nms_topk is '100' here and was '400' there"):
        check_same_job(configuration(nms_topk="100"), older, CHECKPOINT)


def test_what_only_a_newer_version_has_is_told():
    with pytest.raises(UserError, match="- mosaic is unknown here and was 'True' there"):
        check_same_job(configuration(), {**configuration(), "mosaic": "True"}, CHECKPOINT)


DATA = {
    "train": {"images": 5, "boxes": 9, "checksum": 11},
    "validation": {"images": 2, "boxes": 3, "checksum": 12},
}
OTHERS = {**DATA, "validation": {"images": 2, "boxes": 4, "checksum": 13}}
# Such as boxes that were drawn better.
AS_MANY = {**DATA, "train": {"images": 5, "boxes": 9, "checksum": 14}}


def test_the_same_data_are_no_word_worth(caplog: pytest.LogCaptureFixture):
    # Older versions kept no checksum.
    counts = {name: {"images": of["images"], "boxes": of["boxes"]} for name, of in DATA.items()}
    for before in (DATA, counts):
        for finished in (False, True):
            assert check_same_data(DATA, before, CHECKPOINT, finished=finished) == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("now", "channel", "difference"),
    [
        (OTHERS, "validation", "validation has 2 images and 4 boxes, and had 2 and 3"),
        (AS_MANY, "train", "train has as many images and boxes as it had, but others"),
    ],
)
def test_other_data_are_told_and_trained_on(now: dict, channel: str, difference: str, caplog: pytest.LogCaptureFixture):
    assert check_same_data(now, DATA, CHECKPOINT, finished=False) == [channel]
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the data are not those of /kept/sagemaker-ssd-0004.json: {difference}; the training goes on with those of now"
    )


def test_other_data_with_nothing_left_to_train_are_refused():
    with pytest.raises(UserError, match=r"had 2 and 3\. That training is at its end.*name another folder"):
        check_same_data(OTHERS, DATA, CHECKPOINT, finished=True)
    with pytest.raises(UserError, match=r"but others\. That training is at its end"):
        check_same_data(AS_MANY, DATA, CHECKPOINT, finished=True)
