"""The check of a .rec: what it counts, what stops it, what it changes, and that the file itself stays as it is."""

import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn_channels import BOX, WIDTH, encoded, noise, picture, png, read_rec, snapshot, write_rec
from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import frame
from sagemaker_ssd.errors import UserError

PSEUDO = [2, 5, 0, 0.5, 0.5, 0.5, 0.5]
OPTIONS = LoaderOptions(batch_size=8, image_shape=32, mean=(0, 0, 0), threads=1)


def read_labels(file: RecordFile) -> list[np.ndarray]:
    """The objects of each image as training reads them."""
    return [label for batch in evaluation_batches(file, OPTIONS) for label in batch.labels]


@pytest.fixture
def channel(tmp_path: Path) -> "Channel":
    return Channel(tmp_path)


class Channel:
    """A drawn .rec and its check."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "input" / "train.rec"
        self.scratch = tmp_path / "scratch"

    def check(self, records: Sequence[tuple[Any, bytes]], **options: Any) -> RecordFile:
        write_rec(self.path, records)
        return self.check_file(**options)

    def check_file(self, **options: Any) -> RecordFile:
        chosen: dict[str, Any] = {"num_classes": 3, "max_bad_images": 0.0, "label_width": 350, **options}
        return check_recordio(self.path, CheckOptions(name="train", scratch=self.scratch, **chosen))

    def faults(self, records: Sequence[tuple[Any, bytes]], **options: Any) -> str:
        with pytest.raises(UserError) as raised:
            self.check(records, **options)
        assert not self.scratch.exists() or not list(self.scratch.iterdir())
        return raised.value.sentence


def test_the_checksum_is_of_labels_and_images_in_any_order(channel: Channel) -> None:
    moved = [2, 5, 0, 0.1, 0.1, 0.2, 0.2]
    records = [(BOX, png(0)), (moved, png(1)), (PSEUDO, png(2))]
    checksum = channel.check(records).checksum
    # CRC-32 of the label as float32 and the image, as any other program computes it.
    assert checksum == sum(zlib.crc32(np.array(label, "<f4").tobytes() + image) for label, image in records)
    assert channel.check(records[::-1]).checksum == checksum
    for changed in ([(BOX, png(0)), (moved, png(3))], [(BOX, png(0)), ([*moved[:5], 0.3, 0.2], png(1))]):
        assert channel.check([*changed, records[2]]).checksum != checksum


def test_counts(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    two = [2, 5, 0, 0.1, 0.1, 0.2, 0.2, 0, 0.5, 0.5, 1, 1]
    file = channel.check([(BOX, png(0)), (two, png(1)), (PSEUDO, png(2)), (BOX, png(3))])
    assert (file.images, file.boxes, file.boxes_per_class) == (4, 4, (2, 2, 0))
    assert (file.images_without_objects, file.max_objects) == (1, 2)
    assert file.summary("train") == "train: 4 images, 4 boxes, 2 of 3 classes, 1 image without objects"
    assert caplog.messages == [file.summary("train")]


def test_a_good_file_is_used_in_place(channel: Channel) -> None:
    write_rec(channel.path, [(BOX, png(0)), (BOX, png(1))])
    channel.path.chmod(0o444)
    channel.path.parent.chmod(0o555)
    before = snapshot(channel.path.parent)
    file = channel.check_file()
    assert file.path == channel.path
    assert snapshot(channel.path.parent) == before
    assert not channel.scratch.exists()
    length = channel.path.stat().st_size
    assert file.offsets.tolist() == [0, length // 2, length]
    assert file.offsets.dtype == np.int64


def test_one_record_that_changes_leaves_the_file_and_copies_the_others(channel: Channel) -> None:
    records = [(BOX, png(0)), ([2, 5, 1, -0.01, 0, 1, 1], png(1)), (BOX, encoded(noise(1)))]
    write_rec(channel.path, records)
    before = snapshot(channel.path.parent)
    file = channel.check_file()
    assert snapshot(channel.path.parent) == before
    assert file.path == channel.scratch / "train.rec"
    assert read_rec(file.path) == [records[0], ([2, 5, 1, 0, 0, 1, 1], png(1)), records[2]]
    assert file.offsets[-1] == file.path.stat().st_size
    pieces = [file.path.read_bytes()[b:e] for b, e in zip(file.offsets, file.offsets[1:], strict=False)]
    original = channel.path.read_bytes()
    assert pieces[0] == original[: len(pieces[0])]
    assert pieces[2] == original[-len(pieces[2]) :]


@pytest.mark.parametrize("label", [[2, 5], [4, 5, 80, 40], [2, 6]])
def test_a_label_of_only_a_header_is_an_empty_image(channel: Channel, label: list[float]) -> None:
    file = channel.check([(label, png(0)), (BOX, png(1))])
    assert (file.images_without_objects, file.path) == (1, channel.path)
    assert [each.tolist() for each in read_labels(file)] == [[], [BOX[2:]]]


def test_filling_with_minus_one_is_no_box(channel: Channel) -> None:
    file = channel.check([(BOX + [-1] * 10, png(0)), ([2, 5] + [-1] * 15, png(1))])
    assert (file.path, file.boxes, file.max_objects) == (channel.path, 1, 1)
    assert file.images_without_objects == 1
    assert [each.tolist() for each in read_labels(file)] == [[BOX[2:]], []]


def test_longer_headers_and_wider_boxes(channel: Channel) -> None:
    label = [4, 6, 80, 40, 2, 0.1, 0.1, 0.5, 0.5, 1]
    file = channel.check([(label, png(0))])
    assert (file.boxes_per_class, file.path) == ((0, 0, 1), channel.path)
    np.testing.assert_array_equal(read_labels(file), np.float32([[label[4:]]]))


def test_boxes_just_past_the_border_are_clipped(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    # 2 px of an image 80 wide and 40 high are 0.025 and 0.05.
    label = [2, 5, 2, -0.025, -0.05, 1.025, 1.05, 1, 0.1, 0.1, 0.2, 0.2]
    file = channel.check([(BOX, png(0)), (label, png(1))])
    kept = read_rec(file.path)[1][0]
    np.testing.assert_array_equal(kept, np.float32([2, 5, 2, 0, 0, 1, 1, 1, 0.1, 0.1, 0.2, 0.2]))
    assert "train: box past the image's border by up to 2 px, clipped (1): record 1 box 0" in caplog.messages


def test_float32_rounding_at_the_border_is_left_alone(channel: Channel) -> None:
    file = channel.check([([2, 5, 0, -1e-7, 0, np.nextafter(np.float32(1), np.float32(2)), 1], png(0))])
    assert file.path == channel.path


@pytest.mark.parametrize("box", [[0.1, 0.1, 1.027, 0.2], [-0.027, 0, 1, 1], [0, 0, 1, 1.053], [10, 5, 60, 20]])
def test_boxes_further_outside_stop(channel: Channel, box: list[float]) -> None:
    said = channel.faults([(BOX, png(0)), ([*BOX, 0, *box], png(1))])
    assert said.startswith("train/train.rec: record 1, box 1 (xmin ")
    assert "is not inside its image. Coordinates are fractions of the image's width and height, from 0 to 1" in said
    assert said.endswith("Counting starts at 0")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_coordinates_that_are_not_finite_stop(channel: Channel, value: float) -> None:
    said = channel.faults([([2, 5, 0, 0.1, value, 0.5, 0.5], png(0))])
    assert f"record 0, box 0 (xmin 0.1, ymin {value:g}, xmax 0.5, ymax 0.5) has a coordinate that is not" in said


@pytest.mark.parametrize("class_id", [-1, 3, 0.5, float("nan"), 1e30])
def test_class_ids_out_of_range_stop(channel: Channel, class_id: float) -> None:
    said = channel.faults([([*BOX, class_id, 0.1, 0.1, 0.2, 0.2], png(0))])
    assert f"record 0, box 1 has class_id {class_id:g} (ids run from 0 to 2; num_classes is 3)" in said


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (7.0, "has no boxes, only the one number 7 as its label"),
        ([1.0], "has a label of one number, 1"),
        ([0, 0.1, 0.1, 0.5, 0.5], "has a label that begins 0, 0.1: no header_width and object_width"),
        ([1, 5, 0, 0.1, 0.1, 0.5], "has a label that begins 1, 5: no header"),
        ([2, 4, 0, 0.1, 0.1, 0.5], "has a label that begins 2, 4: no header"),
        ([2.5, 5, 0, 0.1, 0.1, 0.5, 0.5], "has a label that begins 2.5, 5: no header"),
        ([float("nan"), 5, 0, 0.1, 0.1, 0.5, 0.5], "has a label whose header is not a number"),
        ([9, 5, 0, 0.1, 0.1, 0.5, 0.5], "has a label of 7 numbers, which is not header_width 9 plus boxes of 5 each"),
        ([2, 5, 0, 0.1, 0.1, 0.5], "has a label of 6 numbers, which is not header_width 2 plus boxes of 5 each"),
    ],
)
def test_labels_without_a_good_header_stop(channel: Channel, label: Any, said: str) -> None:
    text = channel.faults([(BOX, png(0)), (label, png(1))])
    assert text.startswith(f"train/train.rec: record 1 {said}")
    assert "packed without --pack-label" in text


def test_records_that_are_no_image_records_stop(channel: Channel) -> None:
    channel.path.parent.mkdir()
    overlong = (1000).to_bytes(4, "little") + bytes(30)
    channel.path.write_bytes(frame(b'{"annotations": []}') + frame(overlong))
    with pytest.raises(UserError) as raised:
        channel.check_file()
    assert "record 0 has only 19 bytes, too few for an image record" in raised.value.sentence
    assert "record 1 claims a label of 1,000 numbers, but is only 34 bytes long" in raised.value.sentence


def test_broken_framing_stops_beside_the_faults_before_it(channel: Channel) -> None:
    write_rec(channel.path, [([2, 5, 9, 0, 0, 1, 1], png(0)), (BOX, png(1))])
    channel.path.write_bytes(channel.path.read_bytes()[:-8])
    with pytest.raises(UserError) as raised:
        channel.check_file()
    assert "record 0, box 0 has class_id 9" in raised.value.sentence
    assert "record 1 (at byte" in raised.value.sentence
    assert "is cut off" in raised.value.sentence


def test_ten_faults_are_named_and_the_rest_counted(channel: Channel) -> None:
    said = channel.faults([([2, 5, number + 3, 0, 0, 1, 1], png(number)) for number in range(14)])
    assert said.splitlines()[0] == "10 problems:"
    told = "- train/train.rec: record 9, box 0 has class_id 12 (ids run from 0 to 2; num_classes is 3)"
    assert said.splitlines()[10] == told
    assert said.splitlines()[11:] == ["... and 4 more"]


def test_a_file_without_records_stops(channel: Channel) -> None:
    assert channel.faults([]) == "train: holds no image with an annotation"


def test_a_file_without_a_box_stops(channel: Channel) -> None:
    assert channel.faults([(PSEUDO, png(0)), ([2, 5], png(1))]) == (
        "train: not one box in 2 images, so there is nothing to learn"
    )


def test_boxes_without_area_are_dropped(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    flat = [0, 0.2, 0.2, 0.2, 0.5, 0, 0.9, 0.2, 0.1, 0.5]
    file = channel.check([(BOX + flat, png(0)), (BOX, png(1))])
    assert (file.path, file.boxes, file.max_objects) == (channel.path, 2, 1)
    assert [each.tolist() for each in read_labels(file)] == [[BOX[2:]], [BOX[2:]]]
    assert "train: box without area or inverted, dropped (2): record 0 box 1, record 0 box 2" in caplog.messages


def records_of(rows: Sequence[Sequence[float]]) -> list[tuple[list[float], bytes]]:
    """One image for each box."""
    return [([2, 5, 1, *row], png(number)) for number, row in enumerate(rows)]


# One box in four orders; as corners it is 0.5 to 0.75 and 0.375 to 0.625.
CENTRE_AND_SIZE = [0.625, 0.5, 0.25, 0.25]
CORNER_AND_SIZE = [0.5, 0.375, 0.25, 0.25]
X_BEFORE_Y = [0.5, 0.75, 0.375, 0.625]
CORNERS = [0.5, 0.375, 0.75, 0.625]
ORDER = (
    "A box must be class_id, xmin, ymin, xmax, ymax in this order: turn centre and size, corner and size, or xmin, "
    "xmax, ymin, ymax into that. Counting starts at 0"
)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (CENTRE_AND_SIZE, "xmin 0.625, ymin 0.5, xmax 0.25, ymax 0.25"),
        (CORNER_AND_SIZE, "xmin 0.5, ymin 0.375, xmax 0.25, ymax 0.25"),
        (X_BEFORE_Y, "xmin 0.5, ymin 0.75, xmax 0.375, ymax 0.625"),
    ],
)
def test_boxes_in_another_order_stop(channel: Channel, row: list[float], text: str) -> None:
    """Of these some are valid corners all the same, and would be all that is learned from."""
    assert channel.faults(records_of([CORNERS] * 90 + [row] * 10)) == (
        f"train: 10 of 100 boxes are inverted, such as train/train.rec: record 90, box 0 ({text}). {ORDER}"
    )


@pytest.mark.parametrize(
    "rows",
    [
        [CENTRE_AND_SIZE] * 9 + [CORNERS],
        [CENTRE_AND_SIZE] * 10 + [CORNERS] * 91,
        [[0.5, 0.375, 0.5, 0.625]] * 50 + [CORNERS],
        [[0.5, 0.375, 0.75, 0.375]] * 50 + [CORNERS],
    ],
    ids=["few", "a small share", "no width", "no height"],
)
def test_slips_and_flat_boxes_do_not_stop(
    channel: Channel, rows: list[list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    assert channel.check(records_of(rows)).images == rows.count(CORNERS)
    assert "train: box without area or inverted, dropped" in caplog.text


def six(*marks: float, class_id: int = 1) -> tuple[list[float], bytes]:
    """An image with a box for each sixth number."""
    return [2, 6, *(number for mark in marks for number in (class_id, *CORNERS, mark))], png(0)


@pytest.mark.parametrize("marks", [(1, 1), (0.97, 0.88), (412,)], ids=["flags", "confidences", "an area"])
def test_a_channel_to_score_of_only_difficult_boxes_stops(channel: Channel, marks: tuple[float, ...]) -> None:
    assert channel.faults([six(*marks), (PSEUDO, png(0)), six(*marks)], scored=True) == (
        f"train: all of {2 * len(marks)} boxes are marked as difficult by a sixth number above 0, so there is nothing "
        "to compute the mAP with. The sixth number of an object must be 1 where the object is to be left out of the "
        "mAP, else 0: write 0, or leave out what stands there instead, such as a confidence or an area"
    )
    # Training takes no notice of the mark.
    assert channel.check([six(*marks)]).boxes == len(marks)


def test_a_box_that_counts_is_enough(channel: Channel) -> None:
    assert channel.check([six(1, 0), six(1)], scored=True).boxes == 3


def test_sixth_numbers_that_may_mean_something_else_are_told(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.check([six(0, 1), six(0.97, 0), six(-3, 0)], scored=True)
    kind = "train: sixth number of an object that is neither 0 nor 1, read as"
    assert f"{kind} difficult (1): record 1 box 0 (0.97)" in caplog.messages
    assert f"{kind} not difficult (1): record 2 box 0 (-3)" in caplog.messages
    assert len(caplog.messages) == 2


def test_a_class_of_only_difficult_boxes_is_told(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.check([six(1, 1, class_id=2), six(1, 0), six(0, class_id=0)], scored=True)
    assert caplog.messages == ["train: class with only difficult boxes, left out of the mAP (1): class_id 2 (2 boxes)"]


def test_what_is_decided_over_the_whole_is_not_decided_over_a_part(channel: Channel) -> None:
    file = channel.check([(PSEUDO, png(0)), (BOX, b"")], sharded=True)
    assert (file.boxes, file.max_objects, file.label_objects) == (0, 0, 1)
    assert (file.checked.images, file.checked.bad, file.checked.named) == (2, 1, "record 1 (empty, 0 bytes)")
    said = "train: 1 image of this host's part, and none can be used: record 0 (empty, 0 bytes)"
    assert channel.faults([(BOX, b"")], sharded=True) == said


def test_an_image_whose_boxes_all_lack_area_is_left_out(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    # The last one lies wholly in the 2 px past the border, so that clipping takes its area.
    file = channel.check(
        [(BOX, png(0)), ([2, 5, 1, 0.2, 0.2, 0.2, 0.5], png(1)), ([2, 5, 1, 1.001, 0, 1.02, 1], png(2)), (BOX, png(3))]
    )
    assert (file.images, file.images_without_objects) == (2, 0)
    assert [image for _, image in read_rec(file.path)] == [png(0), png(3)]
    assert "train: image whose boxes all have no area, left out (2): record 1, record 2" in caplog.messages


def test_images_that_do_not_decode_within_the_fraction_are_left_out(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    records = [(BOX, png(number)) for number in range(18)]
    records[4] = (BOX, b"")
    records[7] = (BOX, b"no image at all")
    file = channel.check(records, max_bad_images=0.12)
    assert [image for _, image in read_rec(file.path)] == [png(i) for i in range(18) if i not in (4, 7)]
    assert (
        "train: image that cannot be used, left out (2): record 4 (empty, 0 bytes), record 7 (damaged or not an image)"
    ) in caplog.messages


def test_more_images_that_do_not_decode_stop(channel: Channel) -> None:
    records = [(BOX, png(number)) for number in range(18)]
    records[4] = records[7] = (BOX, b"")
    said = channel.faults(records, max_bad_images=0.11)
    assert said == (
        "train: 2 of 18 images cannot be used, and max_bad_images (0.11) allows 1: record 4 (empty, 0 bytes), "
        "record 7 (empty, 0 bytes). Replace these images or leave them out, or raise max_bad_images"
    )


def test_label_width_too_small_is_only_said(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    file = channel.check([(BOX + BOX[2:] * 3, png(0))], label_width=21)
    assert "train: label_width is 21, but the fullest image needs 22; 22 is used" in caplog.messages
    assert [len(label) for label in read_labels(file)] == [4]
    caplog.clear()
    channel.check_file(label_width=22)
    assert not [message for message in caplog.messages if "label_width" in message]


def test_an_image_that_is_neither_jpeg_nor_png_stays_as_it_is(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    webp = encoded(picture(9), ".webp", [64, 101])  # 101: without loss
    file = channel.check([(BOX, webp), (BOX, png(1))])
    assert file.path == channel.path
    assert not caplog.messages
    (batch,) = evaluation_batches(file, OPTIONS)
    assert batch.data.asnumpy()[:, :, 5, 5].tolist() == [[9, 100, 50], [1, 100, 50]]


def test_names_that_mxnet_would_take_apart(channel: Channel) -> None:
    channel.path = channel.path.with_name("all;parts#1?.rec")
    file = channel.check([(BOX, png(7))])
    assert file.path == channel.path
    (batch,) = evaluation_batches(file, OPTIONS)
    assert batch.data.asnumpy()[0, 0, 5, 5] == 7


def test_a_missing_file_is_said(channel: Channel) -> None:
    with pytest.raises(UserError, match=r"train/train\.rec: cannot be read: No such file or directory"):
        channel.check_file()


def test_a_long_pass_shows_how_far_it_is(
    channel: Channel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("sagemaker_ssd.channels.findings._SECONDS_BETWEEN_LINES", 0)
    channel.check([(BOX, png(0)), (BOX, png(1))])
    assert caplog.messages[:2] == ["train: 1 images checked so far", "train: 2 images checked so far"]


def test_images_of_other_sizes_count_their_own_pixels(channel: Channel) -> None:
    wide = encoded(picture(1, size=(10 * WIDTH, 40)), ".jpg")
    said = channel.faults([([2, 5, 0, -1.9 / WIDTH, 0, 1, 1], wide), (BOX, png(0))])
    assert "record 0, box 0" in said
    assert channel.check([([2, 5, 0, -1.9 / (10 * WIDTH), 0, 1, 1], wide)]).boxes == 1
