"""Batches of checked channels: every image once, in the order asked for, with its own boxes and random numbers."""

import gc
import io
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from drawn_channels import encoded, noise, picture, write_rec
from sagemaker_ssd.batches.augment import augment
from sagemaker_ssd.batches.reader import (
    AHEAD_BYTES,
    Batch,
    LoaderOptions,
    TrainingLoader,
    evaluation_batches,
    padded_labels,
)
from sagemaker_ssd.batches.shares import epoch_order
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.errors import UserError

NO_MEAN = (0.0, 0.0, 0.0)
PSEUDO = [2, 5, 0, 0.5, 0.5, 0.5, 0.5]


def checked(folder: Path, records: Sequence[tuple[Any, bytes]], classes: int = 100) -> RecordFile:
    path = write_rec(folder / "drawn.rec", records)
    options = CheckOptions(
        name="train", num_classes=classes, scratch=folder / "checked", max_bad_images=0, label_width=350
    )
    return check_recordio(path, options)


def colours(folder: Path, images: int) -> RecordFile:
    """Image i has red 2 i and one box, of class i, that fills it."""
    records = [([2, 5, i, 0, 0, 1, 1], encoded(picture(2 * i))) for i in range(images)]
    return checked(folder, records)


def options(**chosen: Any) -> LoaderOptions:
    return LoaderOptions(**{"batch_size": 4, "image_shape": 32, "mean": NO_MEAN, "threads": 2, **chosen})


def train(
    file: RecordFile, order: np.ndarray | None = None, *, seed: int = 0, epoch: int = 0, **chosen: Any
) -> Iterator[Batch]:
    order = epoch_order(file.images, seed=seed, epoch=epoch) if order is None else order
    loader = TrainingLoader(
        file, options(**chosen), seed=seed, order=lambda epoch: order, epochs=range(epoch, epoch + 1)
    )
    return loader.batches(epoch)


def evaluate(file: RecordFile, **chosen: Any) -> Iterator[Batch]:
    return evaluation_batches(file, options(**chosen))


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
    batches = list(train(file, order))
    assert [batch.data.shape for batch in batches] == [(size, 3, 32, 32) for size in sizes]
    seen = [label[0, 0] for batch in batches for label in batch.labels]
    assert seen == order.tolist()


def test_training_takes_only_the_images_of_the_order(tmp_path: Path) -> None:
    file = colours(tmp_path, 20)
    order = np.array([7, 3, 3, 19, 0])
    assert [label[0, 0] for batch in train(file, order) for label in batch.labels] == order.tolist()
    assert list(train(file, np.array([], np.int64))) == []


def test_an_order_beyond_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        next(train(colours(tmp_path, 3), np.array([3])))


def test_records_in_several_parts_are_moved_whole(tmp_path: Path) -> None:
    magic = b"\x0a\x23\xd7\xce"
    records = [([2, 5, i, 0, 0, 1, 1], encoded(picture(2 * i)) + magic * 5) for i in range(9)]
    for pad in range(4):  # one of four stands at an aligned place
        records.append(([2, 5, 9 + pad, 0, 0, 1, 1], encoded(picture(20)) + b"x" * pad + magic * 3))
    file = checked(tmp_path, records)
    order = epoch_order(13, seed=1, epoch=0)
    assert [label[0, 0] for batch in train(file, order) for label in batch.labels] == order.tolist()


def test_colours_are_red_green_blue_minus_the_mean(tmp_path: Path) -> None:
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 1, 1], encoded(picture(200, 150, 120)))])
    (batch,) = evaluate(file, mean=(123.0, 117.0, 104.0))
    assert batch.data.dtype == np.float32
    assert batch.data.asnumpy()[0, :, 5, 7].tolist() == [77, 33, 16]


def test_training_subtracts_the_mean_too(tmp_path: Path) -> None:
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 1, 1], encoded(noise(i))) for i in range(8)])
    plain = [batch.data.asnumpy() for batch in train(file)]
    shifted = [batch.data.asnumpy() for batch in train(file, mean=(123.0, 117.0, 104.0))]
    mean = np.array([123, 117, 104]).reshape(3, 1, 1)
    for before, after in zip(plain, shifted, strict=True):
        np.testing.assert_array_equal(before - mean, after)


def test_images_without_objects_come_through(tmp_path: Path) -> None:
    records = [([2, 5, 1, 0, 0, 1, 1], encoded(noise(0))), (PSEUDO, encoded(noise(1))), ([2, 5], encoded(noise(2)))]
    file = checked(tmp_path, records)
    for batches in (evaluate(file), train(file, np.arange(3))):
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


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("size", [(80, 40), (33, 47), (640, 480)])
def test_evaluation_sees_what_mxnets_reader_sees(tmp_path: Path, ending: str, size: tuple[int, int]) -> None:
    blots = cv2.resize(np.random.RandomState(2).randint(0, 256, (9, 12, 3)).astype(np.uint8), size)
    file = checked(
        tmp_path, [([2, 5, 0, 0, 0, 1, 1], encoded(image, ending)) for image in (blots, noise(4, size=size))]
    )
    (batch,) = evaluate(file, image_shape=64, batch_size=2)
    (theirs,) = mx.io.ImageDetRecordIter(
        path_imgrec=str(file.path),
        batch_size=2,
        data_shape=(3, 64, 64),
        label_pad_width=11,
        resize_mode="force",
        preprocess_threads=1,
        verbose=False,
    )
    difference = np.abs(batch.data.asnumpy() - theirs.data[0].asnumpy())
    # The resizing of OpenCV 4 rounds some values to the other whole number, and its JPEG library is a newer one.
    assert difference.max() <= (1 if ending == ".png" else 3)
    assert difference.mean() < 0.2


def epoch_of(file: RecordFile, seed: int, epoch: int, **chosen: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    batches = list(train(file, seed=seed, epoch=epoch, **chosen))
    return [b.data.asnumpy() for b in batches], [label for b in batches for label in b.labels]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_epoch_repeats_bit_for_bit_and_the_next_differs(tmp_path: Path) -> None:
    records = [([2, 5, i, 0.2, 0.2, 0.8, 0.8], encoded(noise(i))) for i in range(30)]
    file = checked(tmp_path, records)
    first, again = epoch_of(file, 1, 0), epoch_of(file, 1, 0)
    assert same(first[0], again[0])
    assert same(first[1], again[1])
    for seed, epoch in ((1, 1), (2, 0)):
        other = epoch_of(file, seed, epoch)
        assert not same(first[0], other[0])
        # The same image, found by its class, is cropped another way.
        crops = [{label[0, 0]: label[0, 1:].tolist() for label in epoch[1]} for epoch in (first, other)]
        assert sum(crops[0][i] != crops[1][i] for i in range(30)) > 20


def test_training_crops_and_pads_and_evaluation_does_not(tmp_path: Path) -> None:
    left_half = [2, 5, 0, 0, 0, 0.5, 1]
    file = checked(tmp_path, [(left_half, encoded(noise(i))) for i in range(60)])
    assert {tuple(label[0]) for batch in evaluate(file) for label in batch.labels} == {(0, 0, 0, 0.5, 1)}
    boxes = np.concatenate([label[:, 1:] for batch in train(file) for label in batch.labels])
    assert ((boxes >= 0) & (boxes <= 1)).all()
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (width > 0.75).any()  # cropped
    assert (height < 0.75).any()  # padded


def test_training_mirrors_half_of_the_images_with_their_boxes(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 80, dtype=np.uint8)[None, :, None], (40, 80, 3))
    dark_half = [2, 5, 0, 0, 0, 0.5, 1]
    file = checked(tmp_path, [(dark_half, encoded(ramp))] * 60)
    mirrored = 0
    for batch in train(file):
        for pixels, label in zip(batch.data.asnumpy(), batch.labels, strict=True):
            left, right = (int(32 * x) for x in label[0, [1, 3]])
            row = pixels.mean(axis=0)[(int(32 * label[0, 2]) + int(32 * label[0, 4])) // 2]
            mirrored += np.sign(np.diff(row[left:right])).sum() < 0
    assert 15 < mirrored < 45


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_batches_are_the_same_for_any_number_of_threads(tmp_path: Path, threads: int) -> None:
    file = checked(tmp_path, [([2, 5, i, 0.2, 0.2, 0.8, 0.8], encoded(noise(i))) for i in range(30)])
    one, other = epoch_of(file, 1, 0, threads=3), epoch_of(file, 1, 0, threads=threads)
    assert same(one[0], other[0])
    assert same(one[1], other[1])


def test_an_image_is_the_same_in_batches_of_any_size_and_on_any_host(tmp_path: Path) -> None:
    file = checked(tmp_path, [([2, 5, i, 0.2, 0.2, 0.8, 0.8], encoded(noise(i))) for i in range(12)])
    views = {}
    for size, order in ((12, np.arange(12)), (5, np.arange(12)[::-1]), (2, np.array([3, 8, 11]))):
        for batch in train(file, order, seed=6, epoch=2, batch_size=size):
            for pixels, label in zip(batch.data.asnumpy(), batch.labels, strict=True):
                seen = views.setdefault(int(label[0, 0]), (pixels, label))
                np.testing.assert_array_equal(seen[0], pixels)
                np.testing.assert_array_equal(seen[1], label)
    assert len(views) == 12


def test_a_broken_off_epoch_leaves_no_thread_at_work(tmp_path: Path) -> None:
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 1, 1], encoded(noise(i))) for i in range(40)])
    batches = train(file)
    next(batches)
    batches.close()
    del batches
    gc.collect()
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("decode") for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_a_file_that_changes_during_the_training_is_explained(tmp_path: Path) -> None:
    file = colours(tmp_path, 9)
    content = bytearray(file.path.read_bytes())
    begin, end = file.offsets[5:7]
    content[begin + 60 : end] = bytes(end - begin - 60)
    file.path.write_bytes(content)
    with pytest.raises(UserError, match=r"record 5 \(at byte [\d,]+\) can no longer be read .*Do not change a job's"):
        list(evaluate(file))
    file.path.write_bytes(content[: int(file.offsets[7])])
    with pytest.raises(UserError, match=r"record 7 .*can no longer be read"):
        list(train(file, np.array([7])))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright(tmp_path: Path, ending: str, orientation: int) -> None:
    # Red at the top left, green at the top right, blue at the bottom left of the upright picture.
    upright = np.zeros((60, 80, 3), np.uint8)
    upright[:30, :40, 0], upright[:30, 40:, 1], upright[30:, :40, 2] = 250, 250, 250
    # How each orientation stores the upright picture.
    turns = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    turned = Image.fromarray(np.ascontiguousarray(turns[orientation]))
    # Without losses, since at this size JPEG's and WebP's mix colours across an edge.
    kind: dict[str, Any] = {
        "jpg": {"format": "JPEG", "quality": 100},
        "png": {"format": "PNG"},
        "webp": {"format": "WEBP", "lossless": True},
    }
    turned.save(content, exif=exif, **kind[ending])
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 0.5, 0.5], content.getvalue())], classes=1)
    (batch,) = evaluate(file)
    corners = batch.data.asnumpy()[0][:, [8, 8, 24], [8, 24, 8]].T > 128
    assert corners.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    (batch,) = train(file, image_shape=64)
    pixels, (label,) = batch.data.asnumpy()[0], batch.labels
    left, top, right, bottom = (round(64 * x) for x in label[0, 1:].tolist())
    red, green, blue = pixels[:, top + 2 : bottom - 2, left + 2 : right - 2].mean(axis=(1, 2))
    assert red > green + 40
    assert red > blue + 40


def test_evaluation_of_a_file_with_an_odd_name(tmp_path: Path) -> None:
    path = write_rec(tmp_path / "a;b#c?.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(picture(8)))])
    options = CheckOptions(name="validation", num_classes=1, scratch=tmp_path / "s", max_bad_images=0, label_width=350)
    file = check_recordio(path, options)
    (batch,) = evaluate(file)
    assert batch.data.asnumpy()[0, 0, 0, 0] == 8


def test_images_at_the_smallest_size_survive_every_crop(tmp_path: Path) -> None:
    sizes = [(12, 12), (12, 90), (90, 12), (1, 1), (1, 40), (3, 2)]
    records = [(PSEUDO, encoded(noise(i, size=size))) for i, size in enumerate(sizes * 15)]
    file = checked(tmp_path, [*records, ([2, 5, 0, 0, 0, 1, 1], encoded(noise(0)))])
    assert sum(len(batch.labels) for batch in train(file)) == 91


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
    # A job that goes on from a checkpoint, perhaps with a later version of this program, keeps its order.
    assert epoch_order(10, seed=7, epoch=2).tolist() == [1, 5, 3, 4, 6, 9, 0, 8, 2, 7]
    assert epoch_order(10, seed=2**31 - 1, epoch=0).tolist() == [1, 8, 3, 2, 0, 7, 5, 6, 4, 9]


def test_a_part_of_the_channel_is_augmented_as_in_the_whole(tmp_path: Path) -> None:
    """Of the same picture eight times each view has its own random numbers, those of its place in the channel."""
    records = [([2, 5, 0, 0, 0, 1, 1], encoded(noise(0, size=(80, 60))))] * 8

    def views(file: RecordFile, images_before: int) -> list[bytes]:
        loader = TrainingLoader(
            *(file, options(batch_size=1)),
            seed=5,
            order=lambda epoch: np.arange(file.images),
            epochs=range(1),
            images_before=images_before,
        )
        return [batch.data.asnumpy().tobytes() for batch in loader.batches(0)]

    for folder in ("whole", "part"):
        (tmp_path / folder).mkdir()
    whole = views(checked(tmp_path / "whole", records), 0)
    assert len(set(whole)) == 8
    assert views(checked(tmp_path / "part", records[:5]), 3) == whole[3:]


def test_the_next_epoch_is_ready_before_it_is_asked_for(tmp_path: Path) -> None:
    file = colours(tmp_path, 12)
    orders = [np.array([1, 2, 3, 4, 5]), np.array([6, 7]), np.array([8])]
    asked = []

    def order(epoch: int) -> np.ndarray:
        asked.append(epoch)
        return orders[epoch]

    loader = TrainingLoader(file, options(), seed=0, order=order, epochs=range(1, 3))
    loader.make_ready(1)
    assert asked == [1]
    first = [int(label[0, 0]) for batch in loader.batches(1) for label in batch.labels]
    assert asked == [1, 2]
    assert (first, [int(label[0, 0]) for batch in loader.batches(2) for label in batch.labels]) == ([6, 7], [8])
    # The last epoch is followed by none.
    assert asked == [1, 2]


def test_what_goes_wrong_in_the_background_is_told_when_the_epoch_begins(tmp_path: Path) -> None:
    file = colours(tmp_path, 4)
    orders = [np.array([0, 1]), np.array([2])]
    loader = TrainingLoader(file, options(), seed=0, order=lambda epoch: orders[epoch], epochs=range(2))
    content = file.path.read_bytes()
    file.path.write_bytes(content[: int(file.offsets[2])])
    assert len(list(loader.batches(0))) == 1
    with pytest.raises(UserError, match="can no longer be read"):
        next(loader.batches(1))


def test_few_images_are_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [([2, 5, 0, 0, 0, 1, 1], encoded(picture(9)))] * 400
    file = checked(tmp_path, records)
    seen: list[int] = []

    def counted(*arguments: Any) -> Any:
        seen.append(1)
        return augment(*arguments)

    monkeypatch.setattr("sagemaker_ssd.batches.reader.augment", counted)
    batches = train(file, image_shape=512, batch_size=2)
    next(batches)
    time.sleep(3)
    # 64 MB of 786 kB each, those of the batch, and those of the one that is put together.
    assert 60 < len(seen) <= AHEAD_BYTES // (3 * 512**2) + 4


def test_an_evaluation_decodes_large_photos_one_at_a_time(tmp_path: Path):
    # 24 megapixels are 72 MB decoded: eight threads had eight of them at once.
    image = encoded(np.zeros((4000, 6000, 3), np.uint8), ".jpg")
    file = checked(tmp_path, [([2, 5, 0, 0, 0, 1, 1], image)] * 8)
    program = f"""
import pickle, resource, sys
from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
file = pickle.loads(bytes.fromhex(sys.stdin.read()))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
options = LoaderOptions(batch_size=4, image_shape=300, mean={NO_MEAN}, threads=8)
assert [len(batch.labels) for batch in evaluation_batches(file, options)] == [4, 4]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(file).hex(), capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 250_000
