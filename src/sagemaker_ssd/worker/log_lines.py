"""The lines that SageMaker's metric definitions and the users of the built-in read, letter for letter.

Source of every format: logs of real jobs of the built-in algorithm. On a terminal a progress bar stands for the lines
of an epoch's batches. Beside them are this program's own progress lines, so that no log is silent for a minute.
"""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sagemaker_ssd.training.loop import EpochProgress

_log = logging.getLogger(__name__)
_BATCHES_BETWEEN_LINES: Final = 100
# Less than a minute by what a busy machine may be late.
SECONDS_BETWEEN_LINES: Final = 50.0


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


class _Silence(logging.Handler):
    """How long nothing has been logged."""

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Note that something is logged."""
        self._last = time.monotonic()

    def end(self) -> None:
        """Begin to count anew."""
        self._last = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._last


# What is under way, the innermost last, which is what a line is about.
_under_way: list[_Silence] = []
_one_line = threading.Lock()


@contextmanager
def progress_lines(
    describe: Callable[[float], str], *, every: float = SECONDS_BETWEEN_LINES, when_silent: bool = True
) -> Iterator[None]:
    """Log a line at least every so many seconds until the block ends, whatever its thread waits for meanwhile.

    describe: gives the line, from the seconds since the block began; it is called in a thread of its own. when_silent:
    any other line will do, so that this one comes only where nothing else is logged. Of blocks within one another the
    innermost logs.
    """
    begin, silence, ended = time.monotonic(), _Silence(), threading.Event()

    def log_when_due() -> None:
        while not ended.wait(max(every - silence.seconds(), 0.01)):
            with _one_line:
                if silence.seconds() < every:
                    continue
                if _under_way[-1] is silence:
                    _log.info("%s", describe(time.monotonic() - begin))
                silence.end()

    with _one_line:
        _under_way.append(silence)
    if when_silent:
        logging.getLogger().addHandler(silence)
    thread = threading.Thread(target=log_when_due, name="progress lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        logging.getLogger().removeHandler(silence)
        with _one_line:
            _under_way.remove(silence)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Log a line whenever nothing else is logged for most of a minute; name: `The channel train is being checked`."""
    with progress_lines(lambda seconds: f"{name}, for {duration(seconds)} so far"):
        yield


def duration(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds: 0:12:30."""
    return str(datetime.timedelta(seconds=round(seconds)))


def epoch_progress_line(
    epoch: int, batches: int, progress: EpochProgress | None, seconds: float, later_batches: int, other_seconds: float
) -> str:
    """Return how far an epoch of so many batches is, `seconds` after its begin; progress: None before its first batch.

    later_batches: of the epochs after this one. other_seconds: what else the job has to do, by experience.
    """
    if progress is None:
        return f"Epoch {epoch}: none of {batches} batches is done after {duration(seconds)}"
    losses = ""
    if progress.cross_entropy is not None:
        losses = f", train cross_entropy {progress.cross_entropy:.3f} and smooth_l1 {progress.smooth_l1:.3f} so far"
    of_batch = progress.seconds / progress.batches
    left = max(of_batch * batches - seconds, 0.0)
    return (
        f"Epoch {epoch}: {progress.batches} of {batches} batches in {duration(seconds)}, "
        f"{progress.images / progress.seconds:.1f} images/s{losses}; about {duration(left)} left of the epoch and "
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

        def log_line(progress: EpochProgress) -> None:
            nonlocal latest
            latest = progress
            if progress.batches % _BATCHES_BETWEEN_LINES == 0:
                left = progress.seconds / progress.batches * (batches - progress.batches)
                line = batches_line(epoch, progress.batches, progress.images, progress.seconds, left)
                _log.info("%s", line)

        def describe(seconds: float) -> str:
            later, others = later_epochs * batches, (later_epochs + 1) * seconds_between_epochs
            return epoch_progress_line(epoch, batches, latest, seconds, later, others)

        with progress_lines(describe, every=every, when_silent=False):
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
