"""Reads checked files as a job does, plainly and augmented; in a process of its own, since a decoder may crash.

Run with files as JSON on stdin: path, offsets, boxes and max_objects of each. Prints a line of JSON for each file: its
number before it is read, and the number with what was wrong, if anything was.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from properties import Results

SECONDS = 600
Facts = dict[str, Any]


def misread(results: Results) -> list[str]:
    """Read the results in one child process, and name the examples that it failed on; a crash is one, too."""
    facts = [
        {
            "path": str(file.path),
            "offsets": file.offsets.tolist(),
            "boxes": file.boxes,
            "max_objects": file.max_objects,
        }
        for file, _ in results.files
    ]
    return [f"{results.files[number][1]}: {wrong}" for number, wrong in _failed(facts)]


def _failed(facts: list[Facts]) -> list[tuple[int, str]]:
    """Return the number of each file that could not be read, and why; after a crash goes on with the next."""
    found: list[tuple[int, str]] = []
    first = 0
    while first < len(facts):
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps(facts[first:]),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            # OpenMP's threads wait by spinning, which takes minutes on a busy machine.
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        assert lines, done.stderr
        found += [(first + number, wrong) for number, wrong in lines if wrong]
        if done.returncode == 0:
            break
        crashed = first + lines[-1][0]
        found.append((crashed, f"ended with {done.returncode}: {done.stderr[-300:]}"))
        first = crashed + 1
    return found


def main() -> None:
    """Read every file, and report on each before and after."""
    for number, facts in enumerate(json.load(sys.stdin)):
        print(json.dumps([number, ""]), flush=True)
        try:
            wrong = read_file(facts)
        except Exception as error:
            wrong = f"{type(error).__name__}: {str(error)[:300]}"
        if wrong:
            print(json.dumps([number, wrong]), flush=True)


def read_file(facts: Facts) -> str:
    """Read a file; return what does not agree with the check, empty if all does."""
    import numpy as np

    from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader, evaluation_batches
    from sagemaker_ssd.channels.record_file import RecordFile

    file = RecordFile(
        *(Path(facts["path"]), np.array(facts["offsets"]), facts["boxes"], ()),
        images_without_objects=0,
        max_objects=facts["max_objects"],
        checksum=0,
    )
    options = LoaderOptions(batch_size=16, image_shape=32, mean=(0, 0, 0), threads=1)
    labels = [label for batch in evaluation_batches(file, options) for label in batch.labels]
    loader = TrainingLoader(file, options, seed=0, order=lambda epoch: np.arange(file.images), epochs=range(1))
    augmented = [label for batch in loader.batches(0) for label in batch.labels]
    if not len(labels) == len(augmented) == file.images:
        return f"{file.images} images were checked, {len(labels)} and {len(augmented)} were read"
    counts = [len(label) for label in labels]
    if (sum(counts), max(counts)) != (file.boxes, file.max_objects):
        return f"{file.boxes} boxes, {file.max_objects} at most, were counted, {sum(counts)}, {max(counts)} were read"
    # What the check lets pass for float32's rounding is beyond the border by a little less than this.
    corners = np.concatenate([label[:, 1:5] for label in labels + augmented])
    if not ((corners >= -1e-6) & (corners <= 1 + 1e-6)).all():
        return f"corners from {corners.min()} to {corners.max()} were read"
    return ""


if __name__ == "__main__":
    main()
