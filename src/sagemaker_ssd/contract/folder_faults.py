"""Says what is wrong with a channel's folder, with what was found there."""

from pathlib import Path

from sagemaker_ssd.contract.channel_folder import ANNOTATION, IMAGE, RECORD, Search, search


def record_faults(folder: Path, base: Path) -> list[str]:
    """Check that there is exactly one .rec file, and that it holds something."""
    place = folder.relative_to(base)
    result = _searched(folder, base, RECORD, 2)
    if isinstance(result, str):
        return [result]
    if len(result.found) > 1:
        names = " and ".join(str(file.relative_to(folder)) for file in result.found)
        return [f"{place}: there are several .rec files, such as {names}; the channel must hold exactly one"]
    if not result.found:
        images = IMAGE & result.others.keys()
        hint = (
            f"for images set ContentType to application/x-image and add the {folder.name}_annotation channel"
            if images
            else "the channel must hold exactly one"
        )
        return [f"{place}: there is no .rec file, but {result.describe_others()}; {hint}"]
    (file,) = result.found
    if file.stat().st_size == 0:
        return [f"{file.relative_to(base)}: the file is empty; pack the images again"]
    return []


def image_faults(folder: Path, base: Path) -> list[str]:
    """Check that there is at least one image."""
    result = _searched(folder, base, IMAGE, 1)
    if isinstance(result, str):
        return [result]
    if result.found:
        return []
    packed = RECORD & result.others.keys()
    hint = "for a .rec file set ContentType to application/x-recordio" if packed else "the channel must hold the images"
    there = result.describe_others()
    return [f"{folder.relative_to(base)}: there is no .jpg, .jpeg or .png file, but {there}; {hint}"]


def annotation_faults(folder: Path, base: Path) -> list[str]:
    """Check that there is at least one JSON file."""
    result = _searched(folder, base, ANNOTATION, 1)
    if isinstance(result, str):
        return [result]
    if result.found:
        return []
    place, there = folder.relative_to(base), result.describe_others()
    return [f"{place}: there is no .json file, but {there}; the channel must hold one JSON file for each image"]


def _searched(folder: Path, base: Path, suffixes: frozenset[str], enough: int) -> Search | str:
    """Search a folder; a fault instead when it is missing, no folder, unreadable or empty."""
    place = folder.relative_to(base)
    channel = f"the data of the {folder.name} channel"
    try:
        result = search(folder, suffixes, enough)
    except FileNotFoundError:
        return f"{place}: there is no such folder; {channel} must be there"
    except NotADirectoryError:
        return f"{place}: it is a file; it must be a folder with {channel}"
    except OSError as error:
        return f"{error.filename}: it cannot be read ({error.strerror}); {channel} must be readable"
    if not result.found and not result.others:
        return f"{place}: the folder holds no files; {channel} must be there"
    return result
