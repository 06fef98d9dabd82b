"""The lines that SageMaker's metric definitions and the users of the built-in read, letter for letter.

Source of every format: logs of real jobs of the built-in algorithm. On a terminal a progress bar stands for the lines
of an epoch's batches. Beside them are this program's own lines: on the best mAP, and on how far an epoch is.
"""

import datetime
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sagemaker_ssd.progress import SECONDS_BETWEEN_LINES, duration, progress_lines
from sagemaker_ssd.training.loop import EpochLosses, EpochProgress

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


def best_validation_map(host: str, epoch: int, value: float) -> str:
    """Return the mAP of the best model after an epoch, which is what a job leaves; the built-in has no such line.

    A tuning job ranks by the last value of its metric. No definition of the built-in's metrics matches the line.
    """
    return f"#quality_metric: host={host}, epoch={epoch}, validation best mAP <score>=({value})"


def progress(host: str, epochs_done: int, epochs: int) -> str:
    """Return how much of the job is done."""
    return f"#progress_metric: host={host}, completed {100.0 * epochs_done / epochs} % of epochs"


def throughput(host: str, images: int, seconds: float) -> str:
    """Return the epoch's training speed, for a metric that the built-in declares and never prints."""
    return f"#throughput_metric: host={host}, train throughput={images / seconds} records/second"


def of_training(host: str, epoch: int, losses: EpochLosses) -> list[str]:
    """Return what a host says of an epoch that it has trained.

    Neither losses over no anchor nor the speed of no images: a metric by SageMaker's definitions would take their 0 in.
    """
    if losses.anchors:
        lines = [
            cross_entropy(host, epoch, losses.batches, losses.cross_entropy),
            smooth_l1(host, epoch, losses.batches, losses.smooth_l1),
        ]
    else:
        lines = [f"Epoch {epoch}: this host has no losses to tell, since no anchor counts (images: {losses.images})"]
    return [*lines, throughput(host, losses.images, losses.seconds)] if losses.images else lines


def batches_line(epoch: int, count: int, images: int, seconds: float, left: float) -> str:
    """Return how far an epoch is; `seconds` since its start, `left` until its end."""
    passed, remaining = datetime.timedelta(seconds=seconds), datetime.timedelta(seconds=round(left))
    return (
        f"Epoch: {epoch:4d}, batches: {count:6d}, num_examples: {images:6d}, {images / seconds:.1f} samples/sec, "
        f"epoch time so far:  {passed}, epoch time left: {remaining}"
    )


def epoch_progress_line(
    epoch: int, batches: int, progress: EpochProgress | None, seconds: float, later_batches: int, other_seconds: float
) -> str:
    """Return how far an epoch of so many batches is, `seconds` after its begin; progress: None before its first batch.

    later_batches: of the epochs after this one. other_seconds: what else the job has to do, by experience.
    """
    # The last one was begun, not done: MXNet computes it while the program goes on.
    done = 0 if progress is None else progress.batches - 1
    if progress is None or done == 0:
        return f"Epoch {epoch}: none of {batches} batches is done after {duration(seconds)}"
    losses = ""
    if progress.cross_entropy is not None:
        losses = f", train cross_entropy {progress.cross_entropy:.3f} and smooth_l1 {progress.smooth_l1:.3f} so far"
    # What the one under way has taken already counts where it takes longer than the others did.
    of_batch = max(progress.seconds / done, seconds / progress.batches)
    images = progress.images / progress.batches / of_batch
    left = max(of_batch * batches - seconds, 0.0)
    return (
        f"Epoch {epoch}: {done} of {batches} batches in {duration(seconds)}, {images:.1f} images/s{losses}; about "
        f"{duration(left)} left of the epoch and "
        f"{duration(left + of_batch * later_batches + other_seconds)} of the job"
    )


@contextmanager
def batch_reporter(
    epoch: int,
    batches: int,
    *,
    bar: bool,
    later_epochs: int = 0,
    seconds_between_epochs: float = 0.0,
    every: float = SECONDS_BETWEEN_LINES,
) -> Iterator[Callable[[EpochProgress], None]]:
    """Give the function to call after each of an epoch's `batches`.

    It logs the built-in's line every 100 batches; besides comes a line of this program's own at least once a minute,
    also where one batch takes longer. On a terminal a bar moves instead. later_epochs: how many follow.
    seconds_between_epochs: what an evaluation takes, as far as that is known.
    """
    if not bar:
        latest: EpochProgress | None = None
        begin = last_line = time.monotonic()

        def describe(seconds: float) -> str:
            nonlocal last_line
            last_line = time.monotonic()
            later, others = later_epochs * batches, (later_epochs + 1) * seconds_between_epochs
            return epoch_progress_line(epoch, batches, latest, seconds, later, others)

        def log_line(progress: EpochProgress) -> None:
            nonlocal latest
            latest = progress
            if progress.batches % _BATCHES_BETWEEN_LINES == 0:
                left = progress.seconds / progress.batches * (batches - progress.batches)
                line = batches_line(epoch, progress.batches, progress.images, progress.seconds, left)
                _log.info("%s", line)
            # The built-in's lines end the silence, and tell no losses.
            if time.monotonic() - last_line >= every:
                _log.info("%s", describe(time.monotonic() - begin))

        with progress_lines(describe, every=every):
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
