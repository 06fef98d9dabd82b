"""Files that appear whole or not at all, whenever the program is killed or the power fails."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sagemaker_ssd.durability import sync


@contextmanager
def whole_file(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Give `part` to be written, and put it into place at `path` when the block ends; without a trace if it raises.

    part: a hidden file beside `path` unless given.
    """
    part = path.with_name(f".{path.name}.part") if part is None else part
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
