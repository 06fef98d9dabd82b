"""Looks for a channel's files, no further than needed: a channel can hold a million images.

Says what is wrong with a channel's folder, with what was found there.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sagemaker_ssd.errors import listed

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
class FileSearch:
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


def search(folder: Path, suffixes: frozenset[str], enough: int | None) -> FileSearch:
    """Look below `folder` for up to `enough` files whose name ends on one of `suffixes`, upper folders first.

    enough: None for all of them, in the order of their names. Hidden files do not count: macOS leaves `._name` beside
    every file it copies. Raises OSError.
    """
    result = FileSearch()
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


def models(folder: Path) -> FileSearch:
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


# What a host lacks may be with another one.
NO_SHARE: Final = (
    "S3DistributionType is ShardedByS3Key, which leaves a host without files where there are fewer of them than "
    "hosts: set it to FullyReplicated, or give the channel more files"
)


def record_faults(folder: Path, base: Path, *, sharded: bool = False) -> list[str]:
    """Check that there are .rec files, and that each of them holds something."""
    result = _searched(folder, base, lambda: search(folder, RECORD, None), sharded)
    if isinstance(result, str):
        return [result]
    if not result.found:
        images = IMAGE & result.others.keys()
        hint = (
            f"for images set ContentType to application/x-image and add the {folder.name}_annotation channel"
            if images
            else "the channel must hold at least one"
        )
        return [_nothing(folder, base, ".rec file", result, hint, sharded)]
    empty = [file for file in result.found if file.stat().st_size == 0]
    return [f"{file.relative_to(base)}: the file is empty; pack the images again" for file in empty]


def image_faults(folder: Path, base: Path, *, sharded: bool = False) -> list[str]:
    """Check that there is at least one image."""
    result = _searched(folder, base, lambda: search(folder, IMAGE, 1), sharded)
    if isinstance(result, str):
        return [result]
    if result.found:
        return []
    packed = RECORD & result.others.keys()
    hint = "for a .rec file set ContentType to application/x-recordio" if packed else "the channel must hold the images"
    return [_nothing(folder, base, ".jpg, .jpeg or .png file", result, hint, sharded)]


def annotation_faults(folder: Path, base: Path, *, sharded: bool = False) -> list[str]:
    """Check that there is at least one JSON file."""
    result = _searched(folder, base, lambda: search(folder, ANNOTATION, 1), sharded)
    if isinstance(result, str):
        return [result]
    if result.found:
        return []
    hint = "the channel must hold one JSON file for each image"
    return [_nothing(folder, base, ".json file", result, hint, sharded)]


def _nothing(folder: Path, base: Path, wanted: str, result: FileSearch, hint: str, sharded: bool) -> str:
    place, there = folder.relative_to(base), result.describe_others()
    return f"{place}: there is no {wanted}, but {there}; {NO_SHARE if sharded else hint}"


def model_faults(folder: Path, base: Path) -> list[str]:
    """Check that there is exactly one model: an archive, or the parameters that were in it."""
    result = _searched(folder, base, lambda: models(folder))
    if isinstance(result, str):
        return [result]
    must = f"the channel must hold the {USUAL_ARCHIVE} of a training job, or the files in it"
    return _only_one(result, folder, base, USUAL_ARCHIVE, must)


def pretrained_faults(folder: Path, base: Path) -> list[str]:
    """Check that there is exactly one .params file."""
    result = _searched(folder, base, lambda: search(folder, PARAMETERS, 4))
    if isinstance(result, str):
        return [result]
    archived = ARCHIVE & result.others.keys()
    hint = f"to continue from a {USUAL_ARCHIVE} name the channel model" if archived else "the channel must hold one"
    return _only_one(result, folder, base, ".params file", hint)


def _only_one(result: FileSearch, folder: Path, base: Path, wanted: str, hint: str) -> list[str]:
    place = folder.relative_to(base)
    if not result.found:
        return [f"{place}: there is no {wanted}, but {result.describe_others()}; {hint}"]
    if len(result.found) > 1:
        names = listed([str(file.relative_to(folder)) for file in result.found[:4]], "and")
        return [f"{place}: there are several files to start from, such as {names}; the channel must hold exactly one"]
    (file,) = result.found
    if file.stat().st_size == 0:
        return [f"{file.relative_to(base)}: the file is empty; copy or upload it again"]
    return []


def _searched(folder: Path, base: Path, look: Callable[[], FileSearch], sharded: bool = False) -> FileSearch | str:
    """Search a folder; a fault instead when it is missing, no folder, unreadable or empty."""
    place = folder.relative_to(base)
    channel = f"the data of the {folder.name} channel"
    must = NO_SHARE if sharded else f"{channel} must be there"
    try:
        result = look()
    except FileNotFoundError:
        return f"{place}: there is no such folder; {must}"
    except NotADirectoryError:
        return f"{place}: it is a file; it must be a folder with {channel}"
    except OSError as error:
        return f"{error.filename}: it cannot be read ({error.strerror}); {channel} must be readable"
    if not result.found and not result.others:
        return f"{place}: the folder holds no files; {must}"
    return result
