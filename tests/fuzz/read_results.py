"""Reads checked files with MXNet's reader, plainly and augmented; in a process of its own, since the reader may abort.

Run with groups of files as JSON on stdin: path, offsets, label_floats and max_objects of each. The files of a group,
whose labels are equally wide, are read as one. Prints a line of JSON for each group: its number before it is read, and
the number with what was wrong, if anything was.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from properties import Results

SECONDS = 600
Facts = dict[str, Any]


def misread(results: Results) -> list[str]:
    """Read the results in one child process, and name the examples that it failed on; a crash is one, too.

    Only the files of a group with a failure are read again one by one.
    """
    facts = [
        {
            "number": number,
            "path": str(file.path),
            "offsets": file.offsets.tolist(),
            "label_floats": file.label_floats,
            "max_objects": file.max_objects,
        }
        for number, (file, _) in enumerate(results.files)
    ]
    by_width: dict[int, list[Facts]] = defaultdict(list)
    for one in facts:
        by_width[one["label_floats"]].append(one)
    groups = list(by_width.values())
    suspects = [one for number, _ in _failed(groups) for one in groups[number]]
    singly = _failed([[one] for one in suspects])
    if suspects and not singly:
        return [f"only together: {[results.files[one['number']][1] for one in suspects]}"[:2000]]
    return [f"{results.files[suspects[number]['number']][1]}: {wrong}" for number, wrong in singly]


def _failed(groups: list[list[Facts]]) -> list[tuple[int, str]]:
    """Return the number of each group that could not be read, and why; after a crash goes on with the next."""
    found: list[tuple[int, str]] = []
    first = 0
    while first < len(groups):
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps(groups[first:]),
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
    """Read every group, and report on each before and after."""
    with tempfile.TemporaryDirectory() as scratch:
        for number, group in enumerate(json.load(sys.stdin)):
            print(json.dumps([number, ""]), flush=True)
            try:
                wrong = read_group(group, Path(scratch))
            except Exception as error:
                wrong = f"{type(error).__name__}: {str(error)[:300]}"
            if wrong:
                print(json.dumps([number, wrong]), flush=True)


def read_group(group: list[Facts], scratch: Path) -> str:
    """Read the files of a group as one; return what does not agree with the check, empty if all does."""
    import numpy as np

    from sagemaker_ssd.batches.reader import TrainingReader, evaluation_batches
    from sagemaker_ssd.channels.record_file import RecordFile

    whole, offsets, end = scratch / "whole.rec", [], 0
    with whole.open("wb") as target:
        for one in group:
            target.write(Path(one["path"]).read_bytes())
            offsets += [end + offset for offset in one["offsets"][:-1]]
            end += one["offsets"][-1]
    file = RecordFile(whole, np.array([*offsets, end]), 0, (), 0, 0, group[0]["label_floats"])
    common: dict[str, Any] = {"batch_size": 16, "image_shape": 32, "mean": (0, 0, 0), "threads": 1}
    counts = [len(label) for batch in evaluation_batches(file, **common) for label in batch.labels]
    order = np.arange(file.images)
    reader = TrainingReader(file, order=lambda epoch: order, epochs=range(1), scratch=scratch, **common)
    augmented = sum(len(batch.labels) for batch in reader.batches(0))
    if not len(counts) == augmented == file.images:
        return f"{file.images} images were checked, {len(counts)} and {augmented} were read"
    for one in group:
        images = len(one["offsets"]) - 1
        most, counts = max(counts[:images]), counts[images:]
        if most != one["max_objects"]:
            return f"{one['max_objects']} boxes at most were counted, {most} were read"
    return ""


if __name__ == "__main__":
    main()
