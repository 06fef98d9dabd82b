"""One side of a benchmark; needs nothing but Python, so that programs of other environments can be sides."""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any


def serve(work: Callable[[], object], facts: Mapping[str, Any] | None = None, warm: int = 1) -> None:
    """Write "ready <facts>" when warm, then do the work for every line that comes and write its seconds.

    At the end write the peak memory in MB.
    """
    for _ in range(warm):
        work()
    print("ready", json.dumps(facts or {}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print("seconds", time.perf_counter() - start, flush=True)
    print("megabytes", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
