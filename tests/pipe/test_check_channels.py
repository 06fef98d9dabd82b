"""A job's channels as the worker takes them: what the log says of each, and which fault is reported."""

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feeding import Feeders, wait_for

from drawn_channels import BOX, encoded, json_box, noise, png, snapshot, write_annotation, write_image, write_rec
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.environment import PIPE_VARIABLE
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import PlatformError, UserError
from sagemaker_ssd.worker.inputs import CheckedChannels, check_channels

Check = Callable[..., CheckedChannels]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "ml" / "input" / "data"


@pytest.fixture
def check(tmp_path: Path, data: Path) -> Check:
    """Check the channels of a job: check(train={...}, validation={...}); a channel is a drawn .rec unless given."""

    def checked(**channels: dict[str, Any]) -> CheckedChannels:
        for name in {"train", "validation"} - channels.keys():
            write_rec(data / name / "drawn.rec", [(BOX, png(1))])
        config = data.parent / "config"
        config.mkdir(parents=True, exist_ok=True)
        for name, content in {
            "hyperparameters": {"num_classes": "3", "num_training_samples": "1", "use_pretrained_model": "0"},
            "inputdataconfig": {"train": {}, "validation": {}, **channels},
            "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
        }.items():
            (config / f"{name}.json").write_text(json.dumps(content))
        own, theirs = socket.socketpair()
        with own:
            alone = ProcessGroup(SupervisorSocket(theirs.detach()), ["algo-1"], "algo-1", timeout=5)
            return check_channels(read_job(tmp_path / "ml"), tmp_path / "scratch", alone)

    return checked


def test_the_log_says_what_is_read_and_how(check: Check, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write_rec(data / "train" / "a.rec", [(BOX, png(1))])
    (data / "train" / "a.idx").write_text("0\t0\n")
    write_image(data / "validation" / "a.png", png(1))
    write_annotation(data / "validation_annotation" / "a.json", [json_box(0, 1, 1, 5, 5)])
    check(train={}, validation={"ContentType": "image/png", "TrainingInputMode": "FastFile"}, validation_annotation={})
    assert caplog.messages[:2] == [
        "train: File mode, 1 .rec file of 0.2 kB, read in place, 1 .idx file not needed",
        "validation: FastFile mode, images with one JSON each, packed into one file while they are checked",
    ]


@pytest.mark.parametrize(
    ("mode", "files", "said"),
    [
        ("File", 1, "File mode, 1 .rec file of 0.3 kB, read in place"),
        ("File", 2, "File mode, 2 .rec files of 0.5 kB, copied while it is checked"),
        ("FastFile", 1, "FastFile mode, 1 .rec file of 0.3 kB, copied while it is checked"),
        ("FastFile", 2, "FastFile mode, 2 .rec files of 0.5 kB, copied while it is checked"),
    ],
)
def test_when_records_are_copied(
    check: Check, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, files: int, said: str
) -> None:
    caplog.set_level(logging.INFO)
    for name in "ba"[:files]:
        write_rec(data / "train" / f"{name}.rec", [(BOX, png(ord(name)))])
    (data / "train").chmod(0o555)
    before = snapshot(data / "train")
    train = check(train={"TrainingInputMode": mode}).train
    assert caplog.messages[0] == f"train: {said}"
    assert snapshot(data / "train") == before
    own = data / "train" / "b.rec"
    assert train.path == (own if (mode, files) == ("File", 1) else tmp_path / "scratch" / "train.rec")
    in_order = sorted((data / "train").iterdir())
    assert train.path.read_bytes() == b"".join(path.read_bytes() for path in in_order)


def test_two_streams_that_are_fed_at_once(check: Check, data: Path, tmp_path: Path, feeders: Feeders) -> None:
    """Each has more than a FIFO holds, and one is read to its end before the other is opened."""
    path = write_rec(tmp_path / "drawn.rec", [(BOX, encoded(noise(number))) for number in range(40)])
    for name in ("validation", "train"):
        feeders.start(data / name, [path])
        wait_for(data / f"{name}_0")
    channels = check(train={"TrainingInputMode": "Pipe"}, validation={"TrainingInputMode": "Pipe"})
    assert (channels.train.images, channels.validation.images) == (40, 40)
    for name in ("validation", "train"):
        wait_for(data / f"{name}_1")
    assert not (data / "train").exists()


def test_two_streams_that_are_fed_one_after_the_other(
    check: Check, data: Path, tmp_path: Path, feeders: Feeders
) -> None:
    path = write_rec(tmp_path / "drawn.rec", [(BOX, encoded(noise(number))) for number in range(40)])
    feeders.start(data / "train", [path], pause=0.1)
    feeders.start(data / "validation", [path], late=0.5)
    channels = check(train={"TrainingInputMode": "Pipe"}, validation={"TrainingInputMode": "Pipe"})
    assert channels.validation is not None
    assert (channels.train.images, channels.validation.images) == (40, 40)


def test_a_stream_beside_files(check: Check, data: Path, tmp_path: Path, feeders: Feeders) -> None:
    feeders.start(data / "validation", [write_rec(tmp_path / "drawn.rec", [(BOX, png(2))])])
    channels = check(validation={"TrainingInputMode": "Pipe"})
    assert channels.validation is not None
    assert channels.train.images > 0


def test_one_host_has_every_share_of_a_stream(check: Check, data: Path, feeders: Feeders) -> None:
    feeders.start(data / "train", b"")
    with pytest.raises(UserError) as raised:
        check(train={"TrainingInputMode": "Pipe", "S3DistributionType": "ShardedByS3Key"})
    assert raised.value.sentence == (
        "train's stream ended before its first byte, the channel has no data: look at its S3Uri"
    )


def test_a_stream_that_does_not_come(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PIPE_VARIABLE, "0.3")
    with pytest.raises(PlatformError, match=r"channel train: the FIFO .* did not appear within 0.3 seconds") as raised:
        check(train={"TrainingInputMode": "Pipe"}, validation={"TrainingInputMode": "Pipe"})
    assert f"set the environment variable {PIPE_VARIABLE} to more seconds" in raised.value.sentence


def test_what_is_wrong_in_one_is_not_hidden_by_the_other_that_does_not_come(
    check: Check, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PIPE_VARIABLE, "0.3")
    write_rec(data / "train" / "a.rec", [([2, 5, 9, 0, 0, 1, 1], png(1))])
    with pytest.raises(UserError, match="has class_id 9") as raised:
        check(train={}, validation={"TrainingInputMode": "Pipe"})
    assert "FIFO" not in raised.value.sentence
    assert "channel validation: the FIFO" in caplog.text


def test_nothing_of_a_stream_is_left_open(check: Check, data: Path, tmp_path: Path, feeders: Feeders) -> None:
    feeders.start(data / "train", [write_rec(tmp_path / "drawn.rec", [(BOX, png(2))])])
    check(train={"TrainingInputMode": "Pipe"})
    held = [path for path in map(Path, opened()) if "ml/input/data" in str(path)]
    assert held == []


def opened() -> list[str]:
    names = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(os.readlink(link)))  # noqa: PTH115, most are no files
        except OSError:
            continue
    return names
