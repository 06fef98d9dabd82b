"""What the check decides over all hosts where each has a part of the channel train."""

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from drawn_channels import BOX, json_box, png, write_annotation, write_image, write_rec
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.job import Job, read_job
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.worker.inputs import agree_on_shares, check_channels, warn_of_same_images
from sagemaker_ssd.worker.metrics import channel_figures

HOSTS = ("algo-1", "algo-2")
EMPTY = [2, 5]
SHARDED = {"S3DistributionType": "ShardedByS3Key"}
Draw = Callable[[Path, int], dict[str, Any]]


def records(*of_hosts: list[tuple[list[float], bytes]]) -> Draw:
    """Give each host its own .rec."""

    def draw(data: Path, host: int) -> dict[str, Any]:
        write_rec(data / "train" / "a.rec", of_hosts[host])
        return {"train": SHARDED}

    return draw


def read_host(base: Path, host: int, draw: Draw, **hyperparameters: str) -> Job:
    data, config = base / "input" / "data", base / "input" / "config"
    config.mkdir(parents=True)
    channels = draw(data, host)
    write_rec(data / "validation" / "drawn.rec", [(BOX, png(1))])
    settings = {"num_classes": "3", "num_training_samples": "1", "use_pretrained_model": "0", "kv_store": "dist_sync"}
    for name, content in {
        "hyperparameters": settings | hyperparameters,
        "inputdataconfig": {"validation": {}, **channels},
        "resourceconfig": {"current_host": HOSTS[host], "hosts": HOSTS},
    }.items():
        (config / f"{name}.json").write_text(json.dumps(content))
    return read_job(base)


def gather(supervisors: list[socket.socket]) -> None:
    """Exchange the hosts' values as their supervisors do, until a host has closed its end."""
    sources = [supervisor.makefile("rb") for supervisor in supervisors]
    while True:
        asked = []
        for source in sources:
            while line := source.readline():
                if "gather" in (message := json.loads(line)):
                    asked.append(message)
                    break
        if len(asked) < len(sources):
            return
        answer = {"gathered": asked[0]["gather"], "values": [message["value"] for message in asked]}
        for supervisor in supervisors:
            supervisor.sendall(json.dumps(answer).encode() + b"\n")


def check(tmp_path: Path, draw: Draw, **hyperparameters: str) -> list[tuple[str, int, dict[str, Any]]]:
    """Check the channels of both hosts: what stops each, or the images it trains on and the figures of all."""
    pairs = [socket.socketpair() for _ in HOSTS]

    def run(host: int) -> tuple[str, int, dict[str, Any]]:
        job = read_host(tmp_path / HOSTS[host], host, draw, **hyperparameters)
        theirs = pairs[host][1].detach()
        supervisor = SupervisorSocket(theirs)
        group = ProcessGroup(supervisor, HOSTS, HOSTS[host], timeout=60)
        try:
            train = check_channels(job, tmp_path / f"scratch{host}", group).train
            shares, figures = agree_on_shares(job, train, group)
        except UserError as error:
            return error.sentence, 0, {}
        finally:
            # In place of the end of the worker's process.
            pairs[host][0].shutdown(socket.SHUT_RDWR)
        assert train.label_objects >= 1
        return "", shares.images, figures

    with ThreadPoolExecutor(3) as pool:
        ends = [pool.submit(run, host) for host in range(len(HOSTS))]
        pool.submit(gather, [ours for ours, _ in pairs])
        try:
            return [end.result(timeout=60) for end in ends]
        finally:
            for ours, _ in pairs:
                ours.close()


def test_a_part_without_a_box_is_trained_on_beside_one_with_boxes(tmp_path: Path) -> None:
    draw = records([(EMPTY, png(1)), (EMPTY, png(2))], [(BOX, png(3))])
    (first, own, figures), (second, others, _) = check(tmp_path, draw)
    assert (first, second) == ("", "")
    assert (own, others) == (2, 1)
    assert (figures["images"], figures["boxes"], figures["boxes_per_class"]) == (3, 1, [0, 1, 0])


def test_a_validation_that_holds_the_parts_of_all_hosts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [(BOX, png(1)), (EMPTY, png(2))], [(BOX, png(3))]
    (_, _, train), _ = check(tmp_path, records(*parts))
    whole = write_rec(tmp_path / "whole.rec", [*parts[1], *parts[0]])
    options = CheckOptions(name="validation", num_classes=3, scratch=tmp_path, max_bad_images=0, label_width=350)
    warn_of_same_images(train, channel_figures(check_recordio(whole, options)))
    assert "validation holds exactly the images and boxes of train, so that the mAP says nothing" in caplog.text


def test_parts_that_all_have_no_box_stop_on_every_host(tmp_path: Path) -> None:
    draw = records([(EMPTY, png(1))], [(EMPTY, png(2)), (EMPTY, png(3))])
    said = "train: not one box in 3 images, so there is nothing to learn"
    assert [end[0] for end in check(tmp_path, draw)] == [said, said]


def test_images_that_cannot_be_used_are_counted_over_all_parts(tmp_path: Path) -> None:
    """One of two on a host, and one of ten of the job."""
    draw = records([(BOX, png(1)), (BOX, b"")], [(BOX, png(number)) for number in range(8)])
    assert [end[:2] for end in check(tmp_path / "allowed", draw, max_bad_images="0.1")] == [("", 1), ("", 8)]
    said = (
        "train: 1 of 10 images cannot be used, and max_bad_images (0.09) allows 0: algo-1: record 1 (empty, 0 bytes). "
        "Replace these images or leave them out, or raise max_bad_images"
    )
    assert [end[0] for end in check(tmp_path / "too many", draw, max_bad_images="0.09")] == [said, said]


def test_inverted_boxes_are_counted_over_all_parts(tmp_path: Path) -> None:
    """Ten of a host's twenty boxes are a tenth of all and stop the job; of 200 they are fewer."""
    inverted = [2, 5, 0, 0.5, 0.5, 0.1, 0.1, 0, 0.1, 0.1, 0.5, 0.5]
    part = [(inverted, png(number)) for number in range(10)]
    draw = records(part, [([2, 5, *[0, 0.1, 0.1, 0.5, 0.5] * 8], png(number)) for number in range(10)])
    said = "train: 10 of 100 boxes are inverted, such as train/a.rec: record 0, box 0"
    assert [end[0][: len(said)] for end in check(tmp_path / "a tenth", draw)] == [said, said]
    draw = records(part, [([2, 5, *[0, 0.1, 0.1, 0.5, 0.5] * 9], png(number)) for number in range(10)])
    assert [end[:2] for end in check(tmp_path / "fewer", draw)] == [("", 10), ("", 10)]


@pytest.mark.parametrize("annotations", ["ShardedByS3Key", "FullyReplicated"])
def test_images_and_annotations_that_were_cut_apart(tmp_path: Path, annotations: str) -> None:
    """Ten images of which number 3 has no JSON: every other file of each channel, as S3 hands them out."""
    stems = [f"{number:03}" for number in range(10)]
    with_json = [stem for stem in stems if stem != "003"]

    def draw(data: Path, host: int) -> dict[str, Any]:
        for stem in stems[host::2]:
            write_image(data / "train" / f"{stem}.png", png(0))
        for stem in with_json[host::2] if annotations == "ShardedByS3Key" else with_json:
            write_annotation(data / "train_annotation" / f"{stem}.json", [json_box(0, 1, 1, 20, 20)])
        return {
            "train": {"ContentType": "image/png", **SHARDED},
            "train_annotation": {"S3DistributionType": annotations},
        }

    ends = check(tmp_path, draw)
    if annotations == "FullyReplicated":
        assert [end[:2] for end in ends] == [("", 5), ("", 4)]
    else:
        assert ends[0][0].startswith(
            "train: 3 images without JSON, such as 004.png, and 3 JSONs without image, such as"
        )
        assert "Set train_annotation's S3DistributionType to FullyReplicated" in ends[1][0]


def test_flat_annotations_of_cameras_that_number_alike_that_were_cut_apart(tmp_path: Path) -> None:
    """Each host has the images of one camera, and of each camera half of the JSON files."""
    cameras = ("cam1", "cam2")
    jsons = sorted(f"{number:04}_{camera}" for number in range(6) for camera in cameras)

    def draw(data: Path, host: int) -> dict[str, Any]:
        for number in range(6):
            write_image(data / "train" / cameras[host] / f"{number:04}.png", png(0))
        for name in jsons[host * 6 : host * 6 + 6]:
            number, camera = name.split("_")
            file = f"{camera}/{number}.png"
            write_annotation(data / "train_annotation" / f"{name}.json", [json_box(0, 1, 1, 20, 20)], file=file)
        return {"train": {"ContentType": "image/png", **SHARDED}, "train_annotation": SHARDED}

    first, second = (end[0] for end in check(tmp_path, draw))
    cut = "train: 3 images without JSON, such as {}, and 3 JSONs without image, such as {}: S3DistributionType"
    assert first.startswith(cut.format("cam1/0003.png", "0000_cam2.json"))
    assert second.startswith(cut.format("cam2/0000.png", "0003_cam1.json"))


def test_hosts_without_a_share_of_a_stream(tmp_path: Path) -> None:
    def draw(data: Path, host: int) -> dict[str, Any]:
        # A file in the FIFO's place is read as a stream, too.
        data.mkdir()
        (data / "train_0").write_bytes(b"")
        return {"train": {"TrainingInputMode": "Pipe", **SHARDED}}

    said = (
        "train's stream ended before its first byte, the channel has no data: S3DistributionType is ShardedByS3Key, "
        "which leaves a host without files where there are fewer of them than hosts: set it to FullyReplicated, or "
        "give the channel more files"
    )
    assert [end[0] for end in check(tmp_path, draw)] == [said, said]
