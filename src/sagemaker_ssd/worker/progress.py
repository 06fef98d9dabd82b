"""How an epoch's progress is shown: a line every 100 batches, or a bar on a terminal."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sagemaker_ssd.engine.epoch import Progress
from sagemaker_ssd.worker import log_lines

_log = logging.getLogger(__name__)
_EVERY = 100


@contextmanager
def observer(epoch: int, batches: int, *, bar: bool) -> Iterator[Callable[[Progress], None]]:
    """Give the function that is told of every batch of an epoch of `batches` batches."""
    if not bar:
        yield lambda progress: _line(epoch, batches, progress)
        return
    with (
        logging_redirect_tqdm(),
        tqdm(total=batches, desc=f"epoch {epoch}", unit="batch", leave=False) as shown,
    ):

        def advance(progress: Progress) -> None:
            shown.update()
            shown.set_postfix_str(f"{progress.images / progress.seconds:.1f} images/s")

        yield advance


def _line(epoch: int, batches: int, progress: Progress) -> None:
    if progress.batches % _EVERY == 0:
        left = progress.seconds / progress.batches * (batches - progress.batches)
        _log.info("%s", log_lines.batches(epoch, progress.batches, progress.images, progress.seconds, left))
