"""Batches through the real ImageDetRecordIter: every image once, in the order asked for, with its own boxes."""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from drawn_channels import encoded, noise, picture, write_rec
from sagemaker_ssd.batches.reader import Batch, TrainingReader, evaluation_batches, padded_labels
from sagemaker_ssd.batches.shares import epoch_order
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.record_file import RecordFile

NO_MEAN = (0.0, 0.0, 0.0)
PSEUDO = [2, 5, 0, 0.5, 0.5, 0.5, 0.5]


def checked(folder: Path, records: Sequence[tuple[Any, bytes]], classes: int = 100) -> RecordFile:
    path = write_rec(folder / "drawn.rec", records)
    return check_recordio(
        path, name="train", num_classes=classes, scratch=folder / "checked", max_bad_images=0, label_width=350
    )


def colours(folder: Path, images: int) -> RecordFile:
    """Image i has red 2 i and one box, of class i, that fills it."""
    records = [([2, 5, i, 0, 0, 1, 1], encoded(picture(2 * i))) for i in range(images)]
    return checked(folder, records)


def train(file: RecordFile, folder: Path, order: np.ndarray | None = None, **options: Any) -> Iterator[Batch]:
    chosen = {"batch_size": 4, "image_shape": 32, "mean": NO_MEAN, "threads": 1, **options}
    order = epoch_order(file.images, seed=0, epoch=0) if order is None else order
    reader = TrainingReader(file, order=lambda epoch: order, epochs=range(1), scratch=folder / "scratch", **chosen)
    return reader.batches(0)


def evaluate(file: RecordFile, **options: Any) -> Iterator[Batch]:
    return evaluation_batches(file, **{"batch_size": 4, "image_shape": 32, "mean": NO_MEAN, "threads": 1, **options})


@pytest.mark.parametrize(("images", "sizes"), [(1, [1]), (3, [3]), (4, [4]), (5, [4, 1]), (47, [4] * 11 + [3])])
def test_evaluation_gives_every_image_once(tmp_path: Path, images: int, sizes: list[int]) -> None:
    batches = list(evaluate(colours(tmp_path, images)))
    assert [batch.data.shape for batch in batches] == [(size, 3, 32, 32) for size in sizes]
    assert [len(batch.labels) for batch in batches] == sizes
    # All batches are looked at only now: none may have been overwritten by a later one.
    reds = np.concatenate([batch.data.asnumpy()[:, 0, 16, 16] for batch in batches])
    assert reds.tolist() == [2 * i for i in range(images)]
    labels = [label.tolist() for batch in batches for label in batch.labels]
    assert labels == [[[i, 0, 0, 1, 1]] for i in range(images)]


@pytest.mark.parametrize(("images", "sizes"), [(1, [1]), (3, [3]), (5, [4, 1]), (47, [4] * 11 + [3])])
def test_training_gives_every_image_once_in_order(tmp_path: Path, images: int, sizes: list[int]) -> None:
    file = colours(tmp_path, images)
    order = epoch_order(images, seed=3, epoch=1)
    batches = list(train(file, tmp_path, order))
    assert [batch.data.shape for batch in batches] == [(size, 3, 32, 32) for size in sizes]
    seen = [label[0, 0] for batch in batches for label in batch.labels]
    assert seen == order.tolist()


def test_training_takes_only_the_images_of_the_order(tmp_path: Path) -> None:
    file = colours(tmp_path, 20)
    order = np.array([7, 3, 3, 19, 0])
    assert [label[0, 0] for batch in train(file, tmp_path, order) for label in batch.labels] == order.tolist()
    assert list(train(file, tmp_path, np.array([], np.int64))) == []


def test_an_order_beyond_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        next(train(colours(tmp_path, 3), tmp_path, np.array([3])))


def test_records_in_several_parts_are_moved_whole(tmp_path: Path) -> None:
    magic = b"\x0a\x23\xd7\xce"
    records = [([2, 5, i, 0, 0, 1, 1], encoded(picture(2 * i)) + magic * 5) for i in range(9)]
    for pad in range(4):  # one of four stands at an aligned place
        records.append(([2, 5, 9 + pad, 0, 0, 1, 1], encoded(picture(20)) + b"x" * pad + magic * 3))
    file = checked(tmp_path, records)
    order = epoch_order(13, seed=1, epoch=0)
    assert [label[0, 0] for batch in train(file, tmp_path, order) for label in batch.labels] == order.tolist()


def test_colours_are_red_green_blue_minus_the_mean(tmp_path: Path) -> None:
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 1, 1], encoded(picture(200, 150, 120)))])
    (batch,) = evaluate(file, mean=(123.0, 117.0, 104.0))
    assert batch.data.dtype == np.float32
    assert batch.data.asnumpy()[0, :, 5, 7].tolist() == [77, 33, 16]


def test_training_subtracts_the_mean_too(tmp_path: Path) -> None:
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 1, 1], encoded(noise(i))) for i in range(8)])
    plain = [batch.data.asnumpy() for batch in train(file, tmp_path)]
    shifted = [batch.data.asnumpy() for batch in train(file, tmp_path, mean=(123.0, 117.0, 104.0))]
    mean = np.array([123, 117, 104]).reshape(3, 1, 1)
    for before, after in zip(plain, shifted, strict=True):
        np.testing.assert_array_equal(before - mean, after)


def test_images_without_objects_come_through(tmp_path: Path) -> None:
    records = [([2, 5, 1, 0, 0, 1, 1], encoded(noise(0))), (PSEUDO, encoded(noise(1))), ([2, 5], encoded(noise(2)))]
    file = checked(tmp_path, records)
    for batches in (evaluate(file), train(file, tmp_path, np.arange(3))):
        (batch,) = batches
        assert [label.shape for label in batch.labels] == [(1, 5), (0, 5), (0, 5)]


def test_labels_with_other_headers_and_the_difficult_flag(tmp_path: Path) -> None:
    image = encoded(noise(0))
    records = [
        ([4, 6, 80, 40, 1, 0, 0, 0.5, 0.5, 1, 2, 0.5, 0.5, 1, 1, 0], image),
        ([2, 5, 3, 0, 0, 0.5, 0.5, 4, 0.1, 0.1, 0.1, 0.5] + [-1] * 5, image),
        ([2, 8, 5, 0, 0, 0.5, 0.5, 1, 7, 7], image),
        ([2, 6, 0, 0.5, 0.5, 0.5, 0.5, 1], image),
    ]
    (batch,) = evaluate(checked(tmp_path, records))
    assert [label.tolist() for label in batch.labels] == [
        [[1, 0, 0, 0.5, 0.5, 1], [2, 0.5, 0.5, 1, 1, 0]],
        [[3, 0, 0, 0.5, 0.5]],
        [[5, 0, 0, 0.5, 0.5, 1]],
        [],
    ]
    assert batch.labels[3].shape == (0, 5)


def epoch_of(file: RecordFile, folder: Path, seed: int, epoch: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    batches = list(train(file, folder, epoch_order(file.images, seed=seed, epoch=epoch)))
    return [b.data.asnumpy() for b in batches], [label for b in batches for label in b.labels]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_epoch_repeats_bit_for_bit_and_the_next_differs(tmp_path: Path) -> None:
    records = [([2, 5, i, 0.2, 0.2, 0.8, 0.8], encoded(noise(i))) for i in range(30)]
    file = checked(tmp_path, records)
    first, again = epoch_of(file, tmp_path, 1, 0), epoch_of(file, tmp_path, 1, 0)
    assert same(first[0], again[0])
    assert same(first[1], again[1])
    for seed, epoch in ((1, 1), (2, 0)):
        other = epoch_of(file, tmp_path, seed, epoch)
        assert not same(first[0], other[0])
        # The same image, found by its class, is cropped another way.
        crops = [{label[0, 0]: label[0, 1:].tolist() for label in epoch[1]} for epoch in (first, other)]
        assert sum(crops[0][i] != crops[1][i] for i in range(30)) > 20


def test_training_crops_and_pads_and_evaluation_does_not(tmp_path: Path) -> None:
    left_half = [2, 5, 0, 0, 0, 0.5, 1]
    file = checked(tmp_path, [(left_half, encoded(noise(i))) for i in range(60)])
    assert {tuple(label[0]) for batch in evaluate(file) for label in batch.labels} == {(0, 0, 0, 0.5, 1)}
    boxes = np.concatenate([label[:, 1:] for batch in train(file, tmp_path) for label in batch.labels])
    assert ((boxes >= 0) & (boxes <= 1)).all()
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (width > 0.75).any()  # cropped
    assert (height < 0.75).any()  # padded


def test_training_mirrors_half_of_the_images_with_their_boxes(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 80, dtype=np.uint8)[None, :, None], (40, 80, 3))
    dark_half = [2, 5, 0, 0, 0, 0.5, 1]
    file = checked(tmp_path, [(dark_half, encoded(ramp))] * 60)
    mirrored = 0
    for batch in train(file, tmp_path):
        for pixels, label in zip(batch.data.asnumpy(), batch.labels, strict=True):
            left, right = (int(32 * x) for x in label[0, [1, 3]])
            row = pixels.mean(axis=0)[(int(32 * label[0, 2]) + int(32 * label[0, 4])) // 2]
            mirrored += np.sign(np.diff(row[left:right])).sum() < 0
    assert 15 < mirrored < 45


def test_the_epochs_file_is_gone_afterwards(tmp_path: Path) -> None:
    file = colours(tmp_path, 9)
    scratch = tmp_path / "scratch"
    batches = train(file, tmp_path)
    next(batches)
    assert len(list(scratch.rglob("*.rec"))) == 1
    list(batches)
    assert not list(scratch.iterdir())
    batches = train(file, tmp_path)
    next(batches)
    batches.close()
    assert not list(scratch.iterdir())
    with pytest.raises(mx.MXNetError):
        list(train(file, tmp_path, image_shape=0))
    assert not list(scratch.iterdir())


def test_evaluation_of_a_file_with_an_odd_name(tmp_path: Path) -> None:
    path = write_rec(tmp_path / "a;b#c?.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(picture(8)))])
    file = check_recordio(
        path, name="validation", num_classes=1, scratch=tmp_path / "s", max_bad_images=0, label_width=350
    )
    (batch,) = evaluate(file)
    assert batch.data.asnumpy()[0, 0, 0, 0] == 8


def test_images_at_the_smallest_size_survive_every_crop(tmp_path: Path) -> None:
    records = [(PSEUDO, encoded(noise(i, size=size))) for i, size in enumerate([(12, 12), (12, 90), (90, 12)] * 30)]
    file = checked(tmp_path, [*records, ([2, 5, 0, 0, 0, 1, 1], encoded(noise(0)))])
    assert sum(len(batch.labels) for batch in train(file, tmp_path)) == 91


def test_padded_labels() -> None:
    labels = [np.float32([[1, 0, 0, 0.5, 0.5, 1], [2, 0, 0, 1, 1, 0]]), np.empty((0, 5), np.float32)]
    padded = padded_labels(labels, 3)
    none = [-1] * 5
    assert padded.dtype == np.float32
    assert padded.tolist() == [[[1, 0, 0, 0.5, 0.5], [2, 0, 0, 1, 1], none], [none, none, none]]
    with pytest.raises(ValueError, match=re.escape("broadcast")):
        padded_labels(labels, 1)


def test_epoch_order() -> None:
    order = epoch_order(50, seed=4, epoch=2)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(50))
    assert order.tolist() == epoch_order(50, seed=4, epoch=2).tolist()
    others = [epoch_order(50, seed=4, epoch=3), epoch_order(50, seed=5, epoch=2), epoch_order(50, seed=2, epoch=4)]
    assert all(order.tolist() != other.tolist() for other in others)


def test_the_next_epoch_is_ready_before_it_is_asked_for(tmp_path: Path) -> None:
    file, scratch = colours(tmp_path, 12), tmp_path / "scratch"
    orders = [np.array([1, 2, 3, 4, 5]), np.array([6, 7]), np.array([8])]
    asked = []

    def order(epoch: int) -> np.ndarray:
        asked.append(epoch)
        return orders[epoch]

    options = {"batch_size": 4, "image_shape": 32, "mean": NO_MEAN, "threads": 1, "scratch": scratch}
    reader = TrainingReader(file, order=order, epochs=range(1, 3), **options)
    reader.make_ready(1)
    deadline = time.monotonic() + 20
    while not list(scratch.glob("epoch-*/epoch.rec")) and time.monotonic() < deadline:
        time.sleep(0.01)
    seen = [[int(label[0, 0]) for batch in reader.batches(epoch) for label in batch.labels] for epoch in (1, 2)]
    assert seen == [[6, 7], [8]]
    # The last epoch is followed by none, and no epoch's records stay.
    assert asked == [1, 2]
    assert list(scratch.iterdir()) == []


def test_the_records_of_two_epochs_are_never_on_the_disk_together(tmp_path: Path) -> None:
    file, scratch = colours(tmp_path, 9), tmp_path / "scratch"
    options = {"batch_size": 4, "image_shape": 32, "mean": NO_MEAN, "threads": 1, "scratch": scratch}
    reader = TrainingReader(file, order=lambda epoch: np.arange(9), epochs=range(3), **options)
    for epoch in range(3):
        for _ in reader.batches(epoch):
            assert len(list(scratch.iterdir())) == 1


def test_what_goes_wrong_in_the_background_is_told_when_the_epoch_begins(tmp_path: Path) -> None:
    file = colours(tmp_path, 4)
    orders = [np.array([0, 1]), np.array([4])]
    options = {"batch_size": 4, "image_shape": 32, "mean": NO_MEAN, "threads": 1, "scratch": tmp_path / "scratch"}
    reader = TrainingReader(file, order=lambda epoch: orders[epoch], epochs=range(2), **options)
    assert len(list(reader.batches(0))) == 1
    with pytest.raises(IndexError):
        next(reader.batches(1))
    assert list((tmp_path / "scratch").iterdir()) == []
