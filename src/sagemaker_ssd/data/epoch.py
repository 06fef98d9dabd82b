"""The order of an epoch's images, and the file that holds its records in that order."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data.record_file import RecordFile
from sagemaker_ssd.data.scratch import ScratchFile


def epoch_order(images: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return a permutation (images,) of the image numbers, the same for the same seed and epoch."""
    order: NDArray[np.int64] = np.random.default_rng((seed, epoch)).permutation(images).astype(np.int64)
    return order


def write_epoch(file: RecordFile, order: NDArray[np.integer[Any]], path: Path) -> None:
    """Write the records of `file` named by `order` (images,) to `path`, in that order and byte for byte.

    Raises UserError if the disk is full.
    """
    begins, ends = file.offsets[order], file.offsets[order + 1]
    needed = int((ends - begins).sum())
    with ScratchFile(path, what="one epoch's images in a new order", needed=needed) as target:
        target.copy_pieces(file.path, zip(begins.tolist(), ends.tolist(), strict=True))
