"""The training images of epoch after epoch, the next epoch made ready while the one before ends."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data.epoch import write_epoch
from sagemaker_ssd.data.reader import AUGMENTATION, Batch, batches_of, open_reader
from sagemaker_ssd.data.record_file import RecordFile

Order = Callable[[int], NDArray[np.integer[Any]]]


@dataclass(frozen=True)
class _Ready:
    """An epoch's records in their order, with a reader that has begun; no reader without images."""

    folder: tempfile.TemporaryDirectory[str]
    reader: mx.io.MXDataIter | None


class TrainingReader:
    """Reads the images of an epoch in its own order, augmented.

    order: gives the numbers (images,) of an epoch's images. epochs: those of the job; behind the last nothing is made
    ready. threads: that decode.
    """

    def __init__(
        self,
        file: RecordFile,
        *,
        order: Order,
        epochs: range,
        batch_size: int,
        image_shape: int,
        mean: tuple[float, float, float],
        scratch: Path,
        threads: int,
    ) -> None:
        self._file, self._order, self._epochs, self._scratch = file, order, epochs, scratch
        self._options: dict[str, Any] = {
            "label_floats": file.label_floats,
            "batch_size": batch_size,
            "image_shape": image_shape,
            "mean": mean,
            "threads": threads,
            # Its random numbers are the same in every reader; the new order gives new crops.
            "augmentation": AUGMENTATION,
        }
        self._background = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[_Ready]] = {}

    def make_ready(self, epoch: int) -> None:
        """Begin in the background to copy an epoch's records into scratch, and to decode."""
        if epoch in self._epochs and epoch not in self._ahead:
            self._ahead[epoch] = self._background.submit(self._open, epoch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every image of an epoch once, then make the next epoch ready; the last batch may be smaller.

        Raises UserError if the disk has no room for the epoch's records.
        """
        self.make_ready(epoch)
        ready = self._ahead.pop(epoch).result()
        with ready.folder:
            if ready.reader is not None:
                yield from batches_of(ready.reader)
        # Behind the removal of this epoch's records: the disk never holds those of two.
        self.make_ready(epoch + 1)

    def _open(self, epoch: int) -> _Ready:
        self._scratch.mkdir(parents=True, exist_ok=True)
        # A folder of its own: to open a file MXNet looks at all its neighbours, whose number and coming and going
        # are not ours.
        folder = tempfile.TemporaryDirectory(prefix="epoch-", dir=self._scratch)
        order = self._order(epoch)
        if not len(order):
            return _Ready(folder, None)
        path = Path(folder.name) / "epoch.rec"
        try:
            write_epoch(self._file, order, path)
            return _Ready(folder, open_reader(path, **self._options))
        except BaseException:
            folder.cleanup()
            raise
