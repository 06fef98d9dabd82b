"""Batches of pixels and labels from a checked channel: read by offset, decoded by threads, a bounded number ahead.

The random numbers of an image come from the seed, the epoch and the image's place in the channel alone, so that batches
are the same for any number of threads, devices and hosts, and after any resumption. Where each host has images of its
own, the places of one host's images follow those of the hosts before it, so that no two images have the same numbers.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import cv2
import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.batches.augment import Boxes, augment
from sagemaker_ssd.channels.images import Pixels, decode, read_header
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import objects_with_area, record_payload, split_label, split_payload
from sagemaker_ssd.errors import UserError

# Pixels of images that are decoded and not yet asked for. Two batches at least: one that the network computes on, and
# the next one.
AHEAD_BYTES: Final = 64_000_000
# Pixels of an image above which evaluations decode one at a time. Ordinary phones have 12 megapixels.
_LARGE_PIXELS: Final = 16_000_000


@dataclass(frozen=True)
class Batch:
    """`data` (n, 3, image_shape, image_shape) float32 RGB minus the mean; `labels`, n arrays (objects, 5 or 6).

    A row is class_id, xmin, ymin, xmax, ymax in fractions of the image, and `difficult` where the records have
    it; (0, 5) for an image without objects.
    """

    data: mx.nd.NDArray
    labels: list[NDArray[np.float32]]


@dataclass(frozen=True)
class LoaderOptions:
    """How batches are made: images in each, their side in pixels, the RGB mean taken off, threads that decode."""

    batch_size: int
    image_shape: int
    mean: tuple[float, float, float]
    threads: int


# Planes (3, S, S) and the objects in them.
View = tuple[Pixels, Boxes]


def evaluation_batches(file: RecordFile, options: LoaderOptions) -> Iterator[Batch]:
    """Yield every image of the file once, in its order and only resized; the last batch may be smaller."""

    large = threading.Lock()

    def resized(number: int, image: bytes, objects: Boxes) -> View:
        header = read_header(image)
        is_large = header is not None and header.width * header.height > _LARGE_PIXELS
        # Decoded whole: one in every thread would be gigabytes on a machine of many cores.
        with large if is_large else contextlib.nullcontext():
            pixels = resize(decode(image), options.image_shape)
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), objects

    with _Loader(file, options) as loader:
        yield from loader.batches(np.arange(file.images), resized)


def resize(pixels: Pixels, image_shape: int) -> Pixels:
    """Resize (H, W, 3) pixels to (image_shape, image_shape, 3), as an evaluation and every detection do."""
    resized: Pixels = cv2.resize(pixels, (image_shape, image_shape), interpolation=cv2.INTER_LINEAR)
    return resized


def padded_labels(labels: Sequence[NDArray[np.float32]], max_objects: int) -> NDArray[np.float32]:
    """Return labels as MultiBoxTarget takes them: (n, max_objects, 5), filled up with -1."""
    padded = np.full((len(labels), max_objects, 5), -1, np.float32)
    for row, label in zip(padded, labels, strict=True):
        row[: len(label)] = label[:, :5]
    return padded


class TrainingLoader:
    """Reads the images of an epoch in its own order, augmented.

    order: gives the numbers (images,) of an epoch's images. epochs: those of the job; behind the last nothing is made
    ready. images_before: the place in the channel of the file's first image, above 0 where other hosts have those
    before it.
    """

    def __init__(
        self,
        file: RecordFile,
        options: LoaderOptions,
        *,
        seed: int,
        order: Callable[[int], NDArray[np.integer[Any]]],
        epochs: range,
        images_before: int = 0,
    ) -> None:
        self._loader, self._options, self._seed = _Loader(file, options), options, seed
        self._order, self._epochs, self._images_before = order, epochs, images_before
        self._ready: dict[int, Iterator[Batch]] = {}

    def make_ready(self, epoch: int) -> None:
        """Begin to decode an epoch's first images in the background."""
        if epoch in self._epochs and epoch not in self._ready:
            self._ready[epoch] = self._loader.batches(self._order(epoch), self._augmented(epoch))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every image of an epoch once, then make the next epoch ready; the last batch may be smaller.

        Raises UserError where an image cannot be read any more.
        """
        self.make_ready(epoch)
        yield from self._ready.pop(epoch)
        self.make_ready(epoch + 1)

    def _augmented(self, epoch: int) -> Callable[[int, bytes, Boxes], View]:
        # Not self in the function: a reference cycle would keep the network's memory when the training is over.
        seed, image_shape, before = self._seed, self._options.image_shape, self._images_before

        def view(number: int, image: bytes, objects: Boxes) -> View:
            return augment(np.random.default_rng((seed, epoch, before + number)), image, objects, image_shape)

        return view


class _Loader:
    """Threads that make views of a file's images, and one that puts them together to batches.

    No thread's work refers to the loader: it is closed by whoever lets go of it, never by one of its own threads.
    """

    def __init__(self, file: RecordFile, options: LoaderOptions) -> None:
        # Images are decoded in parallel; OpenCV's own threads would only wait for these.
        cv2.setNumThreads(1)
        self._file, self._options = file, options
        self._decoders = ThreadPoolExecutor(options.threads, thread_name_prefix="decode")
        self._collector = ThreadPoolExecutor(1, thread_name_prefix="decode-collect")
        self._descriptor = os.open(file.path, os.O_RDONLY)
        pixels = 3 * options.image_shape**2
        self._ahead = max(2 * options.batch_size, AHEAD_BYTES // pixels)

    def batches(self, order: NDArray[np.integer[Any]], view: Callable[[int, bytes, Boxes], View]) -> Iterator[Batch]:
        """Begin with the first images of `order` at once; yield batches of the views of all of them."""
        file, decoders, collector, descriptor = self._file, self._decoders, self._collector, self._descriptor
        begins, ends = file.offsets[order].tolist(), file.offsets[order + 1].tolist()
        submitted = (
            decoders.submit(_view_of, descriptor, *record, view)
            for record in zip(order.tolist(), begins, ends, strict=True)
        )
        pending = deque(islice(submitted, self._ahead))
        collect = partial(_collect, pending, submitted, file.path, self._options)
        # The next batch is put together while the network computes on the one before.
        following = collector.submit(collect)

        def collected() -> Iterator[Batch]:
            ready = following
            try:
                while (batch := ready.result()) is not None:
                    ready = collector.submit(collect)
                    yield batch
            finally:
                for future in list(pending):
                    future.cancel()

        return collected()

    def close(self) -> None:
        """End the threads and close the file."""
        self._decoders.shutdown(cancel_futures=True)
        self._collector.shutdown(cancel_futures=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _collect(
    pending: deque[Future[View]], submitted: Iterator[Future[View]], path: Path, options: LoaderOptions
) -> Batch | None:
    """Put the next views together as the network takes them; None where there are no more."""
    views: list[View] = []
    while pending and len(views) < options.batch_size:
        try:
            views.append(pending.popleft().result())
        except (ValueError, OSError) as error:
            raise UserError(
                f"{path}: {error}, but was whole when the channel was checked. Do not change a job's data while it runs"
            ) from error
        pending.extend(islice(submitted, 1))
    if not views:
        return None
    # Planes of bytes until here: float32 is four times as much to keep.
    planes = np.stack([planes for planes, _ in views])
    mean = np.array(options.mean, np.float32).reshape(1, 3, 1, 1)
    # Into MXNet's memory here too: its copy would wait for a core while the network computes.
    data = mx.nd.array(np.subtract(planes, mean, dtype=np.float32), dtype=np.float32)
    return Batch(data, [objects for _, objects in views])


def _view_of(descriptor: int, number: int, begin: int, end: int, view: Callable[[int, bytes, Boxes], View]) -> View:
    """Make the view of the image in one record; raises ValueError or OSError where it cannot be read any more."""
    try:
        payload = split_payload(record_payload(os.pread(descriptor, end - begin, begin)))
        pixels, objects = view(number, payload.image, objects_with_area(split_label(payload.label)))
        return np.stack(cv2.split(pixels)), objects
    except (ValueError, UserError) as error:
        raise ValueError(f"record {number} (at byte {begin:,}) can no longer be read ({error})") from error
