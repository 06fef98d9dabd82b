"""Wrong jobs, one a row: what `./train` leaves in output/failure, and its exit code."""

import ctypes
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from job_runner import ROOT, Job

HYPER = {"num_classes": "3", "num_training_samples": "4", "use_pretrained_model": "0"}
CHANNELS = {
    name: {"ContentType": "image/jpeg", "TrainingInputMode": "File"}
    for name in ("train", "train_annotation", "validation", "validation_annotation")
}
RECORDS = {name: {"ContentType": "application/x-recordio"} for name in ("train", "validation")}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose files are all there; only their contents would not train."""
    # No pre-trained weights, whatever is installed.
    made = Job(tmp_path / "opt_ml", tmp_path / "tmp", {"SAGEMAKER_SSD_WEIGHTS": str(tmp_path / "none")})
    made.temporary.mkdir()
    write(made.config("hyperparameters"), HYPER)
    write(made.config("inputdataconfig"), CHANNELS)
    write(made.config("resourceconfig"), {"current_host": "algo-1", "hosts": ["algo-1"]})
    for split in ("train", "validation"):
        write(made.base / "input" / "data" / split / "dog.jpg", "not an image")
        write(made.base / "input" / "data" / f"{split}_annotation" / "dog.json", {"annotations": []})
    return made


def hyper(**values: object) -> Callable[[Job], None]:
    return lambda job: write(
        job.config("hyperparameters"),
        {name: value for name, value in {**HYPER, **values}.items() if value is not None},
    )


def channels(change: dict) -> Callable[[Job], None]:
    merged = {**CHANNELS, **change}
    return lambda job: write(
        job.config("inputdataconfig"), {name: value for name, value in merged.items() if value is not None}
    )


def file(name: str, content: object) -> Callable[[Job], None]:
    return lambda job: write(job.config(name), content)


def without(path: str) -> Callable[[Job], None]:
    def change(job: Job) -> None:
        target = job.base / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return change


def renamed(path: str, name: str) -> Callable[[Job], None]:
    def change(job: Job) -> None:
        target = job.base / path
        target.rename(target.with_name(name))

    return change


def records(*names: str, content: str = "x") -> Callable[[Job], None]:
    def change(job: Job) -> None:
        write(job.config("inputdataconfig"), RECORDS)
        for name in names:
            write(job.base / "input" / "data" / "train" / name, content)
        write(job.base / "input" / "data" / "validation" / "v.rec", "x")

    return change


# Each row: what is wrong, and parts of the text that the person sees.
ROWS: dict[str, tuple[Callable[[Job], None], list[str]]] = {
    "required missing": (hyper(num_classes=None), ["num_classes is required: a whole number from 1 to 38835"]),
    "required empty": (hyper(num_training_samples=""), ["num_training_samples is required"]),
    "decimal comma": (
        hyper(learning_rate="0,001"),
        ["hyperparameters.json: learning_rate is '0,001', which is not a number; write 0.001"],
    ),
    "NaN": (hyper(learning_rate="NaN"), ["learning_rate is 'NaN'"]),
    "infinity": (hyper(learning_rate="Infinity"), ["learning_rate is 'Infinity'"]),
    "too large for a number": (hyper(clip_gradient="1e999"), ["clip_gradient is '1e999'"]),
    "underscore in a number": (hyper(epochs="1_000"), ["epochs is '1_000'"]),
    "hexadecimal": (hyper(mini_batch_size="0x10"), ["mini_batch_size is '0x10'"]),
    "fraction for a whole number": (hyper(epochs="2.5"), ["epochs is '2.5'", "whole number"]),
    "out of range below": (hyper(image_shape="299"), ["image_shape is '299'", "300"]),
    "out of range above": (hyper(learning_rate="1.5"), ["learning_rate is '1.5'"]),
    "open end of a range": (hyper(lr_scheduler_factor="1"), ["lr_scheduler_factor is '1'"]),
    "not one of the choices": (
        hyper(base_network="resnet50"),
        ["base_network is 'resnet50'", "vgg-16", "resnet-50"],
    ),
    "unknown optimizer": (hyper(optimizer="adamw"), ["optimizer is 'adamw'", "adadelta"]),
    "not a boolean": (hyper(early_stopping="yes"), ["early_stopping is 'yes'", "True"]),
    "steps not rising": (hyper(lr_scheduler_step="20,10"), ["lr_scheduler_step is '20,10'"]),
    "not a regular expression": (
        hyper(freeze_layer_pattern="^(conv1_"),
        ["freeze_layer_pattern is '^(conv1_'", "regular expression"],
    ),
    "unknown name": (
        hyper(mini_batchsize="4"),
        ["mini_batchsize is not a hyperparameter; did you mean mini_batch_size?"],
    ),
    "no weights, by default": (hyper(use_pretrained_model=None), ["vgg-16 are installed", "make image WEIGHTS=vgg-16"]),
    "no weights": (
        hyper(use_pretrained_model="1", base_network="resnet-50"),
        ["no ImageNet weights for resnet-50", "`pretrained` channel", "set use_pretrained_model to 0"],
    ),
    "other precision": (hyper(precision_dtype="float16"), ["precision_dtype is 'float16'", "float32"]),
    "value is an object": (hyper(epochs={"a": 1}), ["epochs"]),
    "hyperparameters missing": (without("input/config/hyperparameters.json"), ["hyperparameters.json", "num_classes"]),
    "hyperparameters not JSON": (file("hyperparameters", '{"epochs": }'), ["hyperparameters.json", "line 1"]),
    "hyperparameters a list": (file("hyperparameters", []), ["hyperparameters.json"]),
    "channels missing": (without("input/config/inputdataconfig.json"), ["inputdataconfig.json"]),
    "no validation": (
        channels({"validation": None, "validation_annotation": None}),
        ["the validation channel is required, because the mAP that picks the best model is computed on it"],
    ),
    "no annotation channel": (channels({"train_annotation": None}), ["train_annotation channel is required"]),
    "content type": (channels({"train": {"ContentType": "text/csv"}}), ["'text/csv'", "application/x-recordio"]),
    "Pipe mode": (
        channels({"train": {"ContentType": "image/jpeg", "TrainingInputMode": "Pipe"}}),
        ["Pipe", "set TrainingInputMode to File or FastFile", "set RecordWrapperType to RecordIO"],
    ),
    "no model in its channel": (channels({"model": {}}), ["input/data/model: there is no such folder"]),
    "content of the model channel": (
        channels({"model": {"ContentType": "application/x-recordio"}}),
        ["model: ContentType is 'application/x-recordio'; it must be application/x-sagemaker-model or left out"],
    ),
    "weights that are not wanted": (
        lambda job: (channels({"pretrained": {}})(job), write(job.base / "input/data/pretrained/x.params", "x"))[0],
        ["use_pretrained_model is '0'", "remove the channel or set use_pretrained_model to 1"],
    ),
    "folder missing": (without("input/data/train"), ["input/data/train: there is no such folder"]),
    "images of other endings": (
        renamed("input/data/train/dog.jpg", "dog.webp"),
        ["no .jpg, .jpeg or .png file, but 1 .webp", "rename it to .jpg, since what it holds is read"],
    ),
    "XML in place of JSON": (
        renamed("input/data/train_annotation/dog.json", "dog.xml"),
        ["no .json file, but 1 .xml", "python -m sagemaker_ssd.convert voc"],
    ),
    "no annotations": (without("input/data/validation_annotation/dog.json"), ["input/data/validation_annotation"]),
    "images for recordio": (records(), ["there is no .rec file, but", "application/x-image"]),
    "empty record file": (records("a.rec", content=""), ["input/data/train/a.rec: the file is empty"]),
    "host not among the hosts": (
        file("resourceconfig", {"current_host": "algo-9", "hosts": ["algo-1"]}),
        ["resourceconfig.json", "algo-9"],
    ),
    "checkpoints that lead nowhere": (
        lambda job: (job.base / "checkpoints").symlink_to("x" * 300),
        ["checkpoints cannot be read (File name too long): remove it, or make it the folder for checkpoints"],
    ),
    "checkpoints not an object": (file("checkpointconfig", "[]"), ["checkpointconfig.json"]),
}


@pytest.mark.parametrize("row", ROWS)
def test_wrong_job(row: str, job: Job):
    change, parts = ROWS[row]
    change(job)
    ended = job.run("train")
    assert ended.code == 1, ended.log
    assert ended.failure is not None
    for part in parts:
        assert part in ended.failure
    assert ended.failure in ended.log
    assert "Traceback" not in ended.log
    assert len(ended.failure) <= 1024
    assert not ended.failure.startswith("2 problems"), "one thing is wrong, and only that is told"
    # Before the worker: nothing was imported or written that takes time.
    assert not (job.base / "model").exists()
    assert job.left_in_scratch() == []


def test_everything_wrong_at_once_is_told_at_once(job: Job):
    hyper(num_classes="three", epochs="0", learningrate="0.1")(job)
    write(job.config("resourceconfig"), {"current_host": "algo-9", "hosts": ["algo-1"]})
    shutil.rmtree(job.base / "input" / "data" / "train")
    ended = job.run("train")
    assert ended.code == 1
    assert ended.failure is not None
    assert ended.failure.startswith("5 problems:")
    for part in ("num_classes is 'three'", "epochs is '0'", "learning_rate?", "input/data/train", "algo-9"):
        assert part in ended.failure


@pytest.mark.parametrize("arguments", [("deploy",), ("train", "again"), ("train", "--help")])
def test_other_arguments_are_refused_in_a_sentence(arguments: tuple[str, ...], job: Job):
    ended = job.run(*arguments)
    assert ended.code == 1
    assert ended.failure is not None
    assert f"it was started with `{' '.join(arguments)}`" in ended.failure


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_is_no_failure(argument: str, job: Job):
    hyper(epochs="0")(job)
    reason = job.run().failure
    ended = job.run(argument)
    assert (ended.code, ended.failure) == (0, reason)
    assert ended.log.startswith("this image trains with the argument `train` or none, hosts a model with `serve`")


def test_no_argument_is_train(job: Job):
    hyper(epochs="0")(job)
    assert "epochs is '0'" in (job.run().failure or "")


def test_a_failure_of_an_earlier_job_does_not_stay(job: Job):
    hyper(epochs="0")(job)
    job.run()
    hyper(epochs="-1")(job)
    assert "epochs is '-1'" in (job.run().failure or "")


def test_nothing_below_opt_ml(tmp_path: Path):
    job = Job(tmp_path / "nowhere", tmp_path / "tmp")
    job.temporary.mkdir()
    ended = job.run("train")
    assert ended.code == 1
    assert "hyperparameters.json" in (ended.failure or "")
    assert "Traceback" not in ended.log


# Faults of the data: found by the worker's pass over the channels.
DATA_ROWS: dict[str, tuple[Callable[[Job], None], list[str]]] = {
    "not images": (lambda job: None, ["train", "dog.jpg"]),
    "annotation not JSON": (
        lambda job: write(job.base / "input/data/train_annotation/dog.json", "{"),
        ["train_annotation/dog.json"],
    ),
    "record files of noise": (records("a.rec", content="0123456789"), ["train/a.rec", "record 0"]),
    "several record files of noise": (
        records("a.rec", "b.rec", content="0123456789"),
        ["train/a.rec: record 0", "train/b.rec: record 0"],
    ),
}


@pytest.mark.parametrize("row", DATA_ROWS)
def test_wrong_data(row: str, job: Job):
    change, parts = DATA_ROWS[row]
    change(job)
    ended = job.run("train")
    assert ended.code == 1, ended.log
    assert ended.failure is not None
    for part in parts:
        assert part in ended.failure
    assert "Traceback" not in ended.log
    assert ended.model_files == set()
    assert job.left_in_scratch() == []


def test_a_model_folder_that_cannot_be_made_is_named(job: Job):
    (job.base / "model").write_text("a file where the folder belongs")
    ended = job.run("train")
    assert ended.code == 1
    assert f"cannot write to {job.base / 'model'}: File exists" in (ended.failure or "")
    assert stat.S_ISREG((job.base / "model").stat().st_mode)


# <sys/prctl.h>, <linux/capability.h>
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
LIBC = ctypes.CDLL(None)


def permissions_count() -> None:
    """Let the program that is started now do what permissions allow, even where root starts it."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        # Fails where it is another user, who has no such capability.
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_what_a_killed_job_of_another_user_left_is_told(job: Job):
    left = job.base / "model" / ".staging"
    write(left / "model_algo_1-symbol.json", "half")
    left.chmod(0o500)
    try:
        ended = subprocess.run(
            [ROOT / "train"],
            env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.temporary), **job.environment},
            preexec_fn=permissions_count,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        left.chmod(0o700)
    failure = (job.base / "output" / "failure").read_text()
    assert ended.returncode == 1, ended.stdout
    assert failure == (
        f"{job.base / 'model'} holds what a job that was killed left there, and it cannot be cleared up: Permission "
        f"denied at model_algo_1-symbol.json. Make it and all that is in it writable for user {os.geteuid()}, or empty "
        "it"
    )
    assert "Traceback" not in ended.stdout
