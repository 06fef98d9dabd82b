"""What is said of a stream that is none, breaks off, is empty, or is wrapped in the wrong way."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from feeding import Feeders, manifest, wait_for, wrapped
from stream_channel import Channel

from drawn_channels import BOX, encoded, json_box, noise, png, read_rec, write_rec
from sagemaker_ssd.channels.recordio import MAGIC
from sagemaker_ssd.errors import PlatformError

TWO = (
    "AttributeNames must name two attributes of each line of the manifest, first the image and then its annotations, "
    'such as ["source-ref", "bounding-box"]. Counting starts at 0'
)
DRAWN = json_box(1, 20, 10, 20, 20)


def label(boxes: list[object]) -> bytes:
    return json.dumps({"annotations": boxes}).encode()


def test_a_fifo_that_does_not_appear(channel: Channel) -> None:
    channel.patience = 0.5
    begin = time.monotonic()
    said = channel.failure(None, PlatformError)
    assert 0.4 < time.monotonic() - begin < 5
    assert said == (
        f"channel train: the FIFO {channel.fifo}_0, which the platform feeds in Pipe mode, did not appear within 0.5 "
        "seconds, after 0 bytes and 0 records. Start the job again, or use File or FastFile mode; for a platform that "
        "is only slow set the environment variable SAGEMAKER_SSD_PIPE_SECONDS to more seconds"
    )


def test_a_fifo_that_nobody_feeds(channel: Channel) -> None:
    channel.patience = 0.5
    channel.fifo.parent.mkdir(parents=True)
    os.mkfifo(f"{channel.fifo}_0")
    assert "_0, which the platform feeds in Pipe mode, gave nothing for 0.5 seconds, after 0 bytes and 0 records" in (
        channel.failure(None, PlatformError)
    )


def test_a_feeder_that_stalls(channel: Channel) -> None:
    channel.patience = 0.5
    data = channel.records([encoded(noise(0))] * 4)
    channel.feeders.start(channel.fifo, data, stall_after=len(data) // 2 + 100, chunk=100)
    wait_for(channel.fifo.with_name("train_0"))
    said = channel.failure(None, PlatformError)
    fed = -(-(len(data) // 2 + 100) // 100) * 100
    assert f"gave nothing more for 0.5 seconds, after {fed:,} bytes and 2 records. Start the job again" in said


@pytest.mark.parametrize("way", ["close_after", "die_after"])
def test_a_stream_that_ends_within_a_record(channel: Channel, way: str) -> None:
    data = channel.records([png(1), png(1)])
    framed = len(data) // 2
    said = channel.failure(data, feeder={way: framed + 40, "chunk": 4})
    assert said.startswith(f"train's stream: record 1 (at byte {framed:,}) is cut off: it should be {framed - 8:,} ")
    assert said.endswith(
        "bytes long, but the stream ends after 32 of them; a file is not whole, or its feeder was stopped; start the "
        "job again, and if it stops at the same record, pack or upload the data again. Counting starts at 0"
    )


def test_a_stream_that_ends_within_a_head(channel: Channel) -> None:
    data = channel.records([png(1)] * 3)
    said = channel.failure(data, feeder={"close_after": len(data) // 3 * 2 + 6})
    assert "record 2 (at byte" in said
    assert "is cut off: the stream ends inside its head; a file is not whole" in said


def test_a_stream_that_ends_between_records_is_a_shorter_one(channel: Channel) -> None:
    data = channel.records([png(1)] * 3)
    assert channel.check(data, feeder={"close_after": len(data) // 3 * 2, "chunk": 7}).images == 2


def test_a_damaged_stream(channel: Channel) -> None:
    data = bytearray(channel.records([png(0), png(1)]))
    data[7] |= 5 << 5
    assert (
        "record 0 (at byte 0) has the unknown flag 5: the stream is damaged; start the job again, and if it stops at "
        "the same record, pack or upload the data again. Counting starts at 0"
    ) in channel.failure(bytes(data))


def test_other_objects_beside_the_record_file(channel: Channel) -> None:
    data = channel.records([png(0)])
    said = channel.failure(b"0\t0\n" + data)
    assert "train's stream: record 0 (at byte 0) does not begin with RecordIO's magic number" in said
    assert "an .idx or .lst beside them must not be below its S3Uri" in said
    channel.fifo = channel.fifo.with_name("b") / "train"
    assert f"record 1 (at byte {len(data):,}) does not begin" in channel.failure(data + b"0\t0\n")


def test_an_empty_stream(channel: Channel) -> None:
    said = channel.failure(b"")
    assert said == "train's stream ended before its first byte, the channel has no data: look at its S3Uri"


def test_a_folder_in_place_of_the_fifo(channel: Channel) -> None:
    channel.fifo.with_name("train_0").mkdir(parents=True)
    assert channel.failure(None) == f"{channel.fifo}_0: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("data", "what"),
    [(encoded(noise(0), ".jpg"), "an image file"), (png(0), "an image file"), (label([DRAWN]), "JSON")],
)
def test_a_stream_that_was_not_wrapped(channel: Channel, data: bytes, what: str) -> None:
    assert channel.failure(data) == (
        f"train's stream begins with {what}, not with RecordIO's magic number: it was not wrapped. Set the channel's "
        "RecordWrapperType to RecordIO (record_wrapping in SageMaker's SDK), with S3DataType AugmentedManifestFile; or "
        "use File mode"
    )


def test_record_files_that_were_wrapped_once_more(channel: Channel) -> None:
    data = channel.records([png(0), png(1)])
    said = "is a whole .rec file, wrapped once more: leave the channel's RecordWrapperType out, or set it to None"
    assert channel.failure(wrapped([data])) == f"train's stream: record 0 {said}"
    # A wrapper that does not mind the magic number within.
    channel.fifo = channel.fifo.with_name("b") / "train"
    plain = MAGIC + len(data).to_bytes(4, "little") + data
    assert channel.failure(plain) == f"train's stream: record 0 {said}"


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        ([label([DRAWN]), png(0)], "record 0 is JSON, but an image must come first"),
        ([label([DRAWN]), label([])], "record 0 is JSON, but an image must come first"),
        ([png(0), png(1)], "record 1 is an image, and so is the one before: its annotations are missing"),
        ([png(0), label([DRAWN]), label([])], "record 2 is JSON, and so is the one before"),
        ([png(0), label([DRAWN]), png(1)], "record 2 is the last one, an image without annotations behind it"),
        ([png(0)], "record 0 is the last one, an image without annotations behind it"),
    ],
)
def test_attributes_out_of_turn(channel: Channel, payloads: list[bytes], said: str) -> None:
    assert channel.failure(wrapped(payloads)) == f"train's stream: {said}. {TWO}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            b'{"frames": [{"frame-no": "0", "annotations": []}]}',
            """has no list "annotations", but 'frames': if""",
        ),
        (b'{"class-name": "dog"}', 'has no list "annotations"'),
        (b'"dog"', "holds no JSON object"),
        (b"0", "holds no JSON object"),
        (b"{", "is not JSON"),
    ],
)
def test_other_labels_of_ground_truth(channel: Channel, text: bytes, said: str) -> None:
    # The first pair shows that the stream is one of pairs, whatever the second annotation is.
    sentence = channel.failure(wrapped([png(0), label([DRAWN]), png(1), text]))
    assert sentence.startswith(f"train's stream: record 3 (pair 1): {said}")
    assert "Each annotation must be that of a bounding box job for images, " in sentence
    assert "other output of Ground Truth, such as that for video frames, is none" in sentence


@pytest.mark.parametrize("mark", [b"", b'"'])
@pytest.mark.parametrize("address", ["s3://bucket/street/0001.jpg", "https://host/0001.jpg"])
def test_an_attribute_without_ref_brings_the_address(channel: Channel, address: str, mark: bytes) -> None:
    assert channel.failure(wrapped([mark + address.encode() + mark, label([DRAWN])])) == (
        f"train's stream: record 0 is the address '{address}', not what is there: SageMaker fetches it only where the "
        "attribute's name ends in -ref. Rename the attribute in the manifest and in AttributeNames, such as "
        "source-ref. Counting starts at 0"
    )


@pytest.mark.parametrize(
    "metadata",
    [
        {"class-map": {"0": "dog"}, "type": "groundtruth/object-detection"},
        {"objects": [{"confidence": 0.9}], "human-annotated": "yes", "job-name": "x", "type": "groundtruth/x"},
    ],
)
def test_the_metadata_in_place_of_the_annotations(channel: Channel, metadata: dict[str, Any]) -> None:
    assert channel.failure(wrapped([png(0), json.dumps(metadata).encode()])).startswith(
        "train's stream: record 1 (pair 0): is the metadata of Ground Truth's annotations, not this job's: name the "
        "attribute of the annotations in AttributeNames, which is called the same without -metadata, such as "
        "bounding-box. Each annotation must be"
    )


def test_a_manifest_gives_names_of_classes(channel: Channel) -> None:
    text = {"annotations": [DRAWN], "categories": [{"class_id": 1, "name": "dog"}]}
    file = channel.check(wrapped([png(0), json.dumps(text).encode()]))
    assert file.name_of_each_class() == ["0", "dog", "2"]


def test_image_records_in_another_order(channel: Channel) -> None:
    said = channel.failure(channel.records([png(0)] * 12, [[2, 5, 1, 0.625, 0.5, 0.25, 0.25]] * 12))
    assert said.startswith("train: 12 of 12 boxes are inverted, such as train's stream: record 0, box 0 (xmin 0.625, ")


def test_faults_of_boxes_name_record_and_pair(channel: Channel) -> None:
    pairs = [(png(0), [DRAWN]), (png(1), [DRAWN, json_box(3, 1, 1, 2, 2)]), (png(2), [json_box("1", 70, 1, 13, 2)])]
    assert channel.failure(manifest(pairs)).splitlines() == [
        "2 problems:",
        "- train's stream: record 3 (pair 1): box 1 has class_id 3 (ids run from 0 to 2; num_classes is 3). Counting "
        "starts at 0",
        "- train's stream: record 5 (pair 2): box 0 (left 70, top 1, width 13, height 2) is 3 px past the border of "
        "80x40",
    ]


def test_fractions_are_not_read_as_pixels(channel: Channel) -> None:
    fractions = [json_box(1, 0.25, 0.25, 0.25, 0.5)]
    pairs = [(png(number), fractions) for number in range(3)]
    said = channel.failure(manifest(pairs))
    assert said.startswith(
        "train: 3 of 3 boxes lie within 0 to 1, such as train's stream: record 1 (pair 0): box 0 (left 0.25, top 0.25, "
        "width 0.25, height 0.5). These are fractions of the image, and pixels are read. Multiply left and width by "
    )
    channel.fifo = channel.fifo.with_name("b") / "train"
    file = channel.check(
        manifest(((png(number), fractions) for number in range(3)), image_size={"width": 1, "height": 1})
    )
    assert [label for label, _ in read_rec(file.path)] == [BOX] * 3


def test_faults_of_image_records(channel: Channel) -> None:
    said = channel.failure(channel.records([png(0), png(1)], [BOX, [2, 5, 7, 0.1, 0.1, 0.5, 0.5]]))
    assert said == (
        "train's stream: record 1, box 0 has class_id 7 (ids run from 0 to 2; num_classes is 3). Counting starts at 0"
    )


def test_images_that_do_not_decode(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    pairs = [(png(number), [DRAWN]) for number in range(5)]
    pairs[0] = (b"", [DRAWN])
    pairs[3] = (b"<html>", [])
    assert channel.failure(manifest(pairs)).startswith(
        "train: 2 of 5 images cannot be used, and max_bad_images (0) allows 0: pair 0 (empty, 0 bytes), pair 3 "
    )
    channel.fifo = channel.fifo.with_name("b") / "train"
    assert channel.check(manifest(pairs), max_bad_images=0.5).images == 3
    assert "train: image that cannot be used, left out (2): pair 0 (empty" in caplog.text


def test_a_feeder_is_not_left_waiting_for_a_reader_that_failed(channel: Channel) -> None:
    data = channel.records([png(0), png(1)]) + b"no record at all" + bytes(10_000_000)
    process = channel.feeders.start(channel.fifo, data)
    channel.failure(None)
    # It goes on to the next epoch, as it does after a reader that was done.
    wait_for(channel.fifo.with_name("train_1"))
    assert process.poll() is None


FULL_DISK = """
import resource, sys
from pathlib import Path
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.pipe import check_stream
from sagemaker_ssd.errors import UserError
root = Path(sys.argv[1])
# A limit on the size of files stands for the full disk: it needs no rights, and fails at the same call.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    options = CheckOptions(
        name="train", num_classes=2, scratch=root / "scratch", max_bad_images=0, label_width=350
    )
    check_stream(root / "train_0", options, patience=20, patience_variable="PATIENCE")
except UserError as error:
    print(error.sentence)
"""


def test_a_full_disk(tmp_path: Path, feeders: Feeders) -> None:
    path = write_rec(tmp_path / "a.rec", [(BOX, encoded(noise(number))) for number in range(300)])
    feeders.start(tmp_path / "train", [path])
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    said = done.stdout.strip()
    assert said.startswith(f"The disk is full: the stream of train in {tmp_path / 'scratch'} had ")
    assert "written when it came to the end of the " in said
    assert " GB that was free. Raise VolumeSizeInGB in the job's ResourceConfig to " in said
    assert "at the very least: the size of the data in S3 and some more" in said
    assert not list((tmp_path / "scratch").iterdir())
