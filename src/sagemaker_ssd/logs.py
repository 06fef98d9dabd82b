"""The log of both programs: to stdout, in the built-in algorithm's line format."""

import io
import logging
import sys


def configure() -> None:
    """Send every log line to stdout as `[11/22/2026 20:51:58 INFO 140445624629056] text`."""
    # A log that nobody reads any more is no reason to fail, nor to write tracebacks.
    logging.raiseExceptions = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="[%(asctime)s %(levelname)s %(thread)d] %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        force=True,
    )
