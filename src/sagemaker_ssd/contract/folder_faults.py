"""Says what is wrong with a channel's folder, with what was found there."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.channel_folder import (
    ANNOTATION,
    ARCHIVE,
    IMAGE,
    PARAMETERS,
    RECORD,
    USUAL_ARCHIVE,
    Search,
    models,
    search,
)
from sagemaker_ssd.contract.findings import listed

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


def _nothing(folder: Path, base: Path, wanted: str, result: Search, hint: str, sharded: bool) -> str:
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


def _only_one(result: Search, folder: Path, base: Path, wanted: str, hint: str) -> list[str]:
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


def _searched(folder: Path, base: Path, look: Callable[[], Search], sharded: bool = False) -> Search | str:
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
