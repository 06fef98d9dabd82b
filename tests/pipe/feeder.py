"""Feeds one channel as the platform's agent does in Pipe mode: a FIFO an epoch, each with the whole of the data.

A program of its own, started by `feeding.py`; it ends when it is killed, or when nobody reads.
"""

import argparse
import contextlib
import itertools
import os
import time
from pathlib import Path


def main() -> None:
    options = parse_options()
    data = b"".join(path.read_bytes() for path in options.source)
    time.sleep(options.late)
    for epoch in itertools.count():
        fifo = Path(f"{options.fifo}_{epoch}")
        os.mkfifo(fifo)
        # Waits here until somebody reads.
        with fifo.open("wb", buffering=0) as file:
            print(f"epoch {epoch}", flush=True)
            with contextlib.suppress(BrokenPipeError):
                feed(file.fileno(), data, options)


def feed(file: int, data: bytes, options: argparse.Namespace) -> None:
    end = len(data) if options.close_after is None else options.close_after
    for begin in range(0, end, options.chunk):
        if options.stall_after is not None and begin >= options.stall_after:
            time.sleep(1000)
        if options.die_after is not None and begin >= options.die_after:
            os._exit(9)
        chunk = data[begin : min(begin + options.chunk, end)]
        while chunk:
            chunk = chunk[os.write(file, chunk) :]
        time.sleep(options.pause)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("fifo", type=Path, help="path of the FIFOs, to which _0, _1 and so on is added")
    parser.add_argument("source", type=Path, nargs="*", help="files whose bytes follow one another in the stream")
    parser.add_argument("--chunk", type=int, default=100_000, help="bytes of a write")
    parser.add_argument("--pause", type=float, default=0, help="seconds after each write")
    parser.add_argument("--late", type=float, default=0, help="seconds until the first FIFO")
    parser.add_argument("--stall-after", type=int, metavar="BYTES", help="write no more, and keep the FIFO open")
    parser.add_argument("--die-after", type=int, metavar="BYTES", help="end as if killed")
    parser.add_argument("--close-after", type=int, metavar="BYTES", help="end the stream here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
