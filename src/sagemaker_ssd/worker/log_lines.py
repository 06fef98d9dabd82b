"""The lines that SageMaker's metric definitions and the users of the built-in read, letter for letter.

Source of every format: logs of real jobs of the built-in algorithm. On a terminal a progress bar stands for the lines
of an epoch's batches.
"""

import datetime
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sagemaker_ssd.training.loop import EpochProgress

_log = logging.getLogger(__name__)
_BATCHES_BETWEEN_LINES: Final = 100


def cross_entropy(host: str, epoch: int, batches: int, value: float) -> str:
    """Return the epoch's classification loss."""
    return f"#quality_metric: host={host}, epoch={epoch}, batch={batches} train cross_entropy <loss>=({value})"


def smooth_l1(host: str, epoch: int, batches: int, value: float) -> str:
    """Return the epoch's location loss."""
    return f"#quality_metric: host={host}, epoch={epoch}, batch={batches} train smooth_l1 <loss>=({value})"


def validation_map(host: str, epoch: int, value: float) -> str:
    """Return the epoch's mAP; users cut it out between the line's first and last parenthesis."""
    return f"#quality_metric: host={host}, epoch={epoch}, validation mAP <score>=({value})"


def progress(host: str, epochs_done: int, epochs: int) -> str:
    """Return how much of the job is done."""
    return f"#progress_metric: host={host}, completed {100.0 * epochs_done / epochs} % of epochs"


def throughput(host: str, images: int, seconds: float) -> str:
    """Return the epoch's training speed, for a metric that the built-in declares and never prints."""
    return f"#throughput_metric: host={host}, train throughput={images / seconds} records/second"


def batches_line(epoch: int, count: int, images: int, seconds: float, left: float) -> str:
    """Return how far an epoch is; `seconds` since its start, `left` until its end."""
    passed, remaining = datetime.timedelta(seconds=seconds), datetime.timedelta(seconds=round(left))
    return (
        f"Epoch: {epoch:4d}, batches: {count:6d}, num_examples: {images:6d}, {images / seconds:.1f} samples/sec, "
        f"epoch time so far:  {passed}, epoch time left: {remaining}"
    )


@contextmanager
def batch_reporter(epoch: int, batches: int, *, bar: bool) -> Iterator[Callable[[EpochProgress], None]]:
    """Give the function to call after each of an epoch's `batches`: it logs a line every 100, or moves a bar."""
    if not bar:

        def log_line(progress: EpochProgress) -> None:
            if progress.batches % _BATCHES_BETWEEN_LINES == 0:
                left = progress.seconds / progress.batches * (batches - progress.batches)
                line = batches_line(epoch, progress.batches, progress.images, progress.seconds, left)
                _log.info("%s", line)

        yield log_line
        return
    with (
        logging_redirect_tqdm(),
        tqdm(total=batches, desc=f"epoch {epoch}", unit="batch", leave=False) as shown,
    ):

        def advance(progress: EpochProgress) -> None:
            shown.update()
            shown.set_postfix_str(f"{progress.images / progress.seconds:.1f} images/s")

        yield advance
