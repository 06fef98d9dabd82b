"""Streams that are as they should be: what is kept of them, and that the same data are the same in every form."""

import io
import logging
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feeding import manifest, wait_for
from PIL import Image
from stream_channel import Channel

from drawn_channels import BOX, HEIGHT, WIDTH, encoded, json_box, noise, png, read_rec, write_annotation, write_image
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.record_file import RecordFile

IMAGES = [encoded(noise(number), ".jpg") for number in range(6)]
# class_id, left, top, width, height of each box: none in the fourth image.
DRAWN = [[(n % 3, 5 * i, 2 * n, 10 + n, 12) for i in range(n % 4)] for n in (1, 2, 3, 4, 5, 6)]
SETTINGS: dict[str, Any] = {"name": "train", "num_classes": 3, "max_bad_images": 0.0, "label_width": 350}


def labels() -> list[list[float]]:
    made = []
    for boxes in DRAWN:
        made.append([2.0, 5.0])
        for i, left, top, width, height in boxes:
            made[-1] += [i, left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + height) / HEIGHT]
    return made


def packed_from_files(channel: Channel) -> RecordFile:
    images, annotations = channel.folder / "images" / "train", channel.folder / "images" / "train_annotation"
    for number, (image, boxes) in enumerate(zip(IMAGES, DRAWN, strict=True)):
        write_image(images / f"{number}.jpg", image)
        write_annotation(annotations / f"{number}.json", [json_box(*box) for box in boxes])
    return pack_images(images, annotations, CheckOptions(scratch=channel.folder / "packed", **SETTINGS))


def augmented() -> bytes:
    return manifest((image, [json_box(*box) for box in boxes]) for image, boxes in zip(IMAGES, DRAWN, strict=True))


def figures(file: RecordFile) -> tuple[object, ...]:
    counts = file.boxes, file.boxes_per_class, file.images_without_objects, file.max_objects
    return file.offsets.tolist(), *counts


def test_four_forms_of_the_same_data_become_the_same_file(channel: Channel) -> None:
    files = packed_from_files(channel)
    rec = channel.records(IMAGES, labels())
    checked = check_recordio(channel.folder / "drawn.rec", CheckOptions(scratch=channel.folder / "none", **SETTINGS))
    streamed = channel.check(rec)
    assert checked.path == channel.folder / "drawn.rec"
    assert streamed.path.read_bytes() == rec == checked.path.read_bytes()
    channel.fifo, channel.scratch = channel.folder / "second" / "train", channel.folder / "second_scratch"
    paired = channel.check(augmented())
    assert paired.path.read_bytes() == files.path.read_bytes()
    assert read_rec(paired.path) == read_rec(streamed.path)
    assert figures(files) == figures(checked) == figures(streamed) == figures(paired)
    assert (paired.images, paired.boxes, paired.images_without_objects) == (6, 9, 1)


def test_annotations_as_people_have_them(channel: Channel) -> None:
    one, text = json_box(1, 20, 10, 20, 20), json_box("1", "20", "10.0", "2e1", 20)
    data = manifest([(png(0), [one]), (png(1), [text])], image_size={"width": "80", "height": "40"}) + manifest(
        [(png(2), []), (png(3), [one])], image_size=[], **{"class-map": {"1": "dog"}, "type": "groundtruth/x"}
    )
    file = channel.check(data, feeder={"chunk": 1000})
    assert [label for label, _ in read_rec(file.path)] == [BOX, BOX, [2, 5], BOX]
    assert [image for _, image in read_rec(file.path)] == [png(number) for number in range(4)]


def test_objects_of_a_channel_follow_one_another(channel: Channel, tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.rec")
        paths[-1].write_bytes(channel.records([png(number), png(number + 10)]))
    file = channel.check(paths)
    assert [image for _, image in read_rec(file.path)] == [png(number) for number in (0, 10, 1, 11, 2, 12)]


def test_records_are_corrected_as_those_of_a_file_are(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    drawn = [[2, 5], [2, 5, 1, -0.01, 0, 1, 1], BOX, [2, 5, 1, 0.5, 0.5, 0.5, 0.9]]
    streamed = channel.check(channel.records([png(number) for number in range(4)], drawn))
    said = [message for message in caplog.messages if "record" in message]
    caplog.clear()
    checked = check_recordio(channel.folder / "drawn.rec", CheckOptions(scratch=channel.folder / "file", **SETTINGS))
    assert [message for message in caplog.messages if "record" in message] == said
    assert len(said) == 3
    assert streamed.path.read_bytes() == checked.path.read_bytes()
    np.testing.assert_array_equal(streamed.offsets, checked.offsets)


def test_the_first_image_may_be_damaged(channel: Channel) -> None:
    box = json_box(1, 20, 10, 20, 20)
    file = channel.check(manifest([(b"<html>", [box]), (png(1), [box])]), max_bad_images=0.5)
    assert [image for _, image in read_rec(file.path)] == [png(1)]


@pytest.mark.parametrize("numbers", [91, 123, 379, 32])
def test_labels_whose_length_looks_like_text(channel: Channel, numbers: int) -> None:
    # `[`, `{` and a space: the first byte of an image record is its label's length.
    header = 2 + (numbers - 2) % 5
    label = [header, 5, *[0] * (header - 2), *BOX[2:] * ((numbers - header) // 5)]
    file = channel.check(channel.records([png(0)], [label]))
    assert (file.images, file.boxes) == (1, (numbers - header) // 5)
    assert len(read_rec(file.path)[0][0]) == numbers


def test_a_late_and_slow_feeder(channel: Channel) -> None:
    channel.patience = 2
    data = channel.records([png(1), png(2)])
    begin = time.monotonic()
    # The waits together are longer than the patience, which is only for the time without a byte.
    file = channel.check(data, feeder={"late": 0.3, "pause": 0.8, "chunk": -(-len(data) // 5)})
    assert time.monotonic() - begin > 3.4
    assert file.images == 2


def test_a_photo_that_is_turned_and_was_annotated_as_stored(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF's orientation: a quarter turn
    photo = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(photo, "JPEG", exif=exif)
    file = channel.check(manifest([(photo.getvalue(), [json_box(1, 20, 10, 20, 20)])]))
    assert read_rec(file.path)[0][0] == BOX
    assert "train: image changed: EXIF orientation taken out" in caplog.text
    assert caplog.text.rstrip().endswith("(1): pair 0")


def test_a_long_wait_is_logged(
    channel: Channel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("sagemaker_ssd.channels.pipe._REPORT_SECONDS", 1)
    channel.check(channel.records([png(1)]), feeder={"late": 1.8})
    assert f"train: the FIFO {channel.fifo}_0 did not appear within 1 seconds" in caplog.messages


def test_the_feeder_goes_on_to_the_next_epoch(channel: Channel) -> None:
    data = channel.records([png(1), png(2)])
    process = channel.feeders.start(channel.fifo, data)
    wait_for(channel.fifo.with_name("train_0"))
    channel.check(None)
    wait_for(channel.fifo.with_name("train_1"))
    assert process.poll() is None
    assert process.stdout is not None
    assert process.stdout.readline() == "epoch 0\n"


def test_a_stream_in_parts_of_every_size(channel: Channel) -> None:
    data = augmented()
    for number, chunk in enumerate((7, 4096, 10_000_000)):
        channel.fifo = channel.folder / str(number) / "train"
        assert channel.check(data, feeder={"chunk": chunk}).boxes == 9


def test_what_the_log_says(channel: Channel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("sagemaker_ssd.channels.findings._SECONDS_BETWEEN_LINES", 0)
    data = channel.records([encoded(noise(number)) for number in range(20)])
    file = channel.check(data)
    size = f"{len(data) / 1e6:.1f} MB"
    assert caplog.messages[0].startswith(f"train: reading {channel.fifo}_0 once, into {channel.scratch}, where ")
    assert caplog.messages[0].endswith(" are free")
    # How much is read ahead depends on the cores.
    assert re.fullmatch(r"train: 1 images checked so far, [\d.]+ [kM]B read", caplog.messages[1])
    assert caplog.messages[-2:] == [f"train: the stream is read, {size} in 20 records", file.summary("train")]
