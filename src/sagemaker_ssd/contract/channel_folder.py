"""Looks for a channel's files, no further than needed: a channel can hold a million images."""

import os
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.findings import listed

RECORD: Final = frozenset({".rec"})
IMAGE: Final = frozenset({".jpg", ".jpeg", ".png"})
ANNOTATION: Final = frozenset({".json"})
PARAMETERS: Final = frozenset({".params"})
ARCHIVE: Final = frozenset({".gz", ".tgz", ".tar"})
# The built-in's names. S3 has a job's output.tar.gz beside its model.tar.gz, people put deploy_model_algo_1-0000.params
# beside the parameters that it was made from.
USUAL_ARCHIVE: Final = "model.tar.gz"
USUAL_PARAMETERS: Final = "model_algo_1-0000.params"
# Of files that only one may be there of, enough to find the one with the usual name among others.
_SEVERAL: Final = 20
# After so many files one that fits is enough: the search for a second one is not worth minutes.
LOOK_AT_MOST: Final = 10_000


@dataclass
class Search:
    """What was found below a folder: files that fit, and how many others with which suffix."""

    found: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def describe_others(self) -> str:
        """Say what is there instead: `3 .jpg and 1 .txt`."""
        most = sorted(self.others.items(), key=lambda other: (-other[1], other[0]))[:3]
        words = [f"{count} {suffix or 'without a suffix'}" for suffix, count in most]
        if len(self.others) > 3:
            words.append("others")
        return listed(words, "and")


def search(folder: Path, suffixes: frozenset[str], enough: int | None) -> Search:
    """Look below `folder` for up to `enough` files whose name ends on one of `suffixes`, upper folders first.

    enough: None for all of them, in the order of their names. Hidden files do not count: macOS leaves `._name` beside
    every file it copies. Raises OSError.
    """
    result = Search()
    for number, file in enumerate(_files(folder)):
        suffix = Path(file.name).suffix.lower()
        if suffix in suffixes:
            result.found.append(Path(file.path))
        else:
            result.others[suffix] += 1
        if enough is not None and (len(result.found) >= enough or (result.found and number >= LOOK_AT_MOST)):
            break
    result.found.sort()
    return result


def models(folder: Path) -> Search:
    """Look below `folder` for model.tar.gz or the parameters in it; one found is the right one. Raises OSError."""
    result = search(folder, ARCHIVE | PARAMETERS, _SEVERAL)
    archives = [file for file in result.found if file.suffix.lower() in ARCHIVE]
    parameters = [file for file in result.found if file.suffix.lower() in PARAMETERS]
    result.found = preferred(archives, USUAL_ARCHIVE) + preferred(parameters, USUAL_PARAMETERS)
    return result


def preferred(files: list[Path], usual: str) -> list[Path]:
    """Give the one file with the usual name, all files when none or several have it."""
    named = [file for file in files if file.name == usual]
    return named if len(named) == 1 else files


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting = deque([str(folder)])
    # Links may lead back to a folder above.
    visited: set[tuple[int, int]] = set()
    while waiting:
        path = waiting.popleft()
        facts = os.stat(path)  # noqa: PTH116, a million Path objects are slow
        if (facts.st_dev, facts.st_ino) in visited:
            continue
        visited.add((facts.st_dev, facts.st_ino))
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    waiting.append(entry.path)
                elif entry.is_file():
                    yield entry
