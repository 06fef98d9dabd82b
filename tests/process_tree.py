"""Processes and what they have started."""

import subprocess


def descendants(root: int) -> list[int]:
    """Return the processes below one, parents first."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in found.stdout.splitlines()]
    tree = [root]
    for parent in tree:
        tree.extend(process for process, of in pairs if of == parent)
    return tree[1:]
