"""Files that appear whole or not at all."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sagemaker_ssd.durability import sync


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to be written, and put it into place when the block ends; no trace if it raises."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        sync(part)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
