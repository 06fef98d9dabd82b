"""Lists the files of a channel's folder, no further than needed, and says what is wrong with what is there.

A channel can hold a million images: only RecordIO files are listed to the last one.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.config_file import Diagnostics
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.data_formats import (
    IMAGE_ENDINGS,
    LOOKED_AT,
    OTHER_IMAGE_ENDINGS,
    VOC_REMEDY,
    ending_remedy,
    is_hidden_file,
    is_hidden_folder,
)
from sagemaker_ssd.errors import UserError, listed

RECORD_SUFFIXES: Final = frozenset({".rec"})
IMAGE_SUFFIXES: Final = frozenset(IMAGE_ENDINGS)
ANNOTATION_SUFFIXES: Final = frozenset({".json"})
PARAMETERS_SUFFIXES: Final = frozenset({".params"})
ARCHIVE_SUFFIXES: Final = frozenset({".gz", ".tgz", ".tar"})
# How mxnet-ssd's deploy.py, and this program's folder `deploy`, begin the names of a model's deploy form.
_DEPLOY_FORM: Final = "deploy_"
# Of what the channel `pretrained` takes beside those of a model. What a file is, its content says; the names only tell
# it from what lies beside it.
WEIGHTS_SUFFIXES: Final = frozenset({".onnx", ".pth", ".pt"})
# The built-in's name, as that of the parameters. S3 has a job's output.tar.gz next to its model.tar.gz, and people put
# deploy_model_algo_1-0000.params next to the parameters that it was made from.
MODEL_ARCHIVE: Final = "model.tar.gz"
# Behind what is said of files that only a training can start from.
OWN_ONNX_REMEDY: Final = f"; of a job that wrote it as its model.onnx, the {MODEL_ARCHIVE} is what to give"
# Where there must be only one file, enough of them to find the one with the built-in's name among others.
_SEVERAL: Final = 20
# After so many files one that fits is enough: the search for a second one is not worth minutes.
_LOOK_AT_MOST: Final = 10_000
# What a host lacks may be with another one, where nothing that is here explains it.
NO_SHARE: Final = (
    "S3DistributionType is ShardedByS3Key, which leaves a host without files where there are fewer of them than "
    "hosts: set it to FullyReplicated, or give the channel more files"
)


@dataclass
class FileListing:
    """The files below a folder: those that fit, and how many others there are with which suffix.

    `dangling` are links whose target is not there, which count as neither.
    """

    found: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    dangling: list[Path] = field(default_factory=list)

    def describe_others(self) -> str:
        """Say what is there instead: `3 .jpg and 1 .txt`."""
        most = sorted(self.others.items(), key=lambda other: (-other[1], other[0]))[:3]
        words = [f"{count} {suffix or 'without a suffix'}" for suffix, count in most]
        if len(self.others) > 3:
            words.append("others")
        return listed(words, "and")

    def remedy_for_weights(self) -> str:
        """Say where weights of another program belong that lie in place of a model, behind a sentence; or nothing."""
        found = sorted(WEIGHTS_SUFFIXES & self.others.keys())
        if not found:
            return ""
        return (
            f"; {listed(found, 'and')} files are weights of another program, from which only a training can start: "
            f"put one of them into its channel pretrained{OWN_ONNX_REMEDY if '.onnx' in found else ''}"
        )


def list_files(folder: Path, suffixes: frozenset[str], enough: int | None) -> FileListing:
    """List up to `enough` files below `folder` whose name ends on one of `suffixes`, upper folders first.

    enough: None for all of them, in the order of their names. Hidden files do not count, nor does what is in folders
    that systems keep for themselves. Raises OSError.
    """
    listing = FileListing()
    for number, file in enumerate(_walk(folder)):
        suffix = Path(file.name).suffix.lower()
        if _is_dangling(file):
            listing.dangling.append(Path(file.path))
        elif suffix in suffixes:
            listing.found.append(Path(file.path))
        else:
            listing.others[suffix] += 1
        if enough is not None and (len(listing.found) >= enough or (listing.found and number >= _LOOK_AT_MOST)):
            break
    listing.found.sort()
    listing.dangling.sort()
    return listing


def list_records(folder: Path) -> FileListing:
    """List the .rec files below `folder` in the order of their names.

    Raises OSError, and UserError where one is a link whose target is not there.
    """
    listing = list_files(folder, RECORD_SUFFIXES, None)
    if links := _missing_records(listing):
        raise UserError(_dangling_fault(links, links[0]))
    return listing


def _missing_records(listing: FileListing) -> list[Path]:
    return [link for link in listing.dangling if link.suffix.lower() in RECORD_SUFFIXES]


def list_models(folder: Path) -> FileListing:
    """List the model.tar.gz below `folder`, or the parameters of one; one found is the right one. Raises OSError."""
    return _list_preferred(folder, PARAMETERS)


def list_unpacked_models(folder: Path) -> FileListing:
    """List the parameters of a model below `folder`, else its archive; one found is the right one. Raises OSError.

    Parameters come before archives: an archive often stays beside what was unpacked from it, as version 2 of the SDK
    in local mode leaves model.tar.gz and output.tar.gz. Those of the deploy form, of an unpacked output.tar.gz, do not:
    they have no hyperparams.json, and their symbol suppresses otherwise.
    """
    listing = list_models(folder)
    parameters = [file for file in listing.found if file.suffix.lower() in PARAMETERS_SUFFIXES]
    own = [file for file in parameters if not file.name.startswith(_DEPLOY_FORM)]
    archives = [file for file in listing.found if file not in parameters]
    listing.found = own or archives or parameters
    return listing


def list_pretrained(folder: Path) -> FileListing:
    """List the file of weights below `folder`, or the model.tar.gz; one found is the right one. Raises OSError.

    A file of any other name is one where it is the only file.
    """
    listing = _list_preferred(folder, None, WEIGHTS_SUFFIXES)
    if not listing.found and listing.others.total() == 1:
        listing.found = [Path(entry.path) for entry in _walk(folder) if not _is_dangling(entry)]
    return listing


def _list_preferred(folder: Path, parameters_name: str | None, also: frozenset[str] = frozenset()) -> FileListing:
    """List archives, .params files and those with a suffix of `also`, of several the one with its usual name."""
    listing = list_files(folder, ARCHIVE_SUFFIXES | PARAMETERS_SUFFIXES | also, _SEVERAL)
    archives = [file for file in listing.found if file.suffix.lower() in ARCHIVE_SUFFIXES]
    parameters = [file for file in listing.found if file.suffix.lower() not in ARCHIVE_SUFFIXES]
    listing.found = _preferred(archives, MODEL_ARCHIVE) + _preferred(parameters, parameters_name)
    return listing


def _preferred(files: list[Path], name: str | None) -> list[Path]:
    """Give the one file of that name, all files when none or several have it."""
    named = [file for file in files if file.name == name]
    return named if len(named) == 1 else files


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder, and the links whose target is not there, upper folders first."""
    waiting = deque([str(folder)])
    # Links may lead back to a folder above.
    visited: set[tuple[int, int]] = set()
    while waiting:
        path = waiting.popleft()
        status = os.stat(path)  # noqa: PTH116, a million Path objects are slow
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(path) as entries:
            for entry in entries:
                # No folder is data whose name hides a file.
                if is_hidden_file(entry.name):
                    continue
                if entry.is_dir():
                    if not is_hidden_folder(entry.name):
                        waiting.append(entry.path)
                elif entry.is_file() or _is_dangling(entry):
                    yield entry


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    # A link to a FIFO is there, too.
    return entry.is_symlink() and not entry.is_file() and not Path(entry.path).exists()


def check_record_files(folder: Path, base: Path, diagnostics: Diagnostics, *, sharded: bool = False) -> None:
    """Add a fault unless there are .rec files, and one for each that holds nothing.

    sharded: whether other hosts were given the rest of the folder.
    """
    listing = _listed(folder, base, lambda: list_files(folder, RECORD_SUFFIXES, None), diagnostics, sharded)
    if listing is None:
        return
    if not listing.found:
        hint = (
            f"for images set ContentType to application/x-image and add the {folder.name}_annotation channel"
            if IMAGE_SUFFIXES & listing.others.keys()
            else (NO_SHARE if sharded else "the channel must hold at least one")
        )
        _add_nothing(folder, base, ".rec file", listing, hint, diagnostics)
    elif links := _missing_records(listing):
        diagnostics.faults.append(_dangling_fault(links, links[0].relative_to(base)))
    for file in listing.found:
        _check_not_empty(file, base, "pack the images again", diagnostics)


def check_images(folder: Path, base: Path, diagnostics: Diagnostics, *, sharded: bool = False) -> None:
    """Add a fault unless there is at least one image; sharded: whether other hosts were given the rest."""
    listing = _listed(folder, base, lambda: list_files(folder, IMAGE_SUFFIXES, 1), diagnostics, sharded)
    if listing is not None and not listing.found:
        hint = NO_SHARE if sharded else "the channel must hold the images"
        if RECORD_SUFFIXES & listing.others.keys():
            hint = "for a .rec file set ContentType to application/x-recordio"
        elif images := [suffix for suffix, _ in listing.others.most_common() if suffix in OTHER_IMAGE_ENDINGS]:
            hint = f"{LOOKED_AT}: for each, {ending_remedy(images[0])}"
        wanted = ".jpg, .jpeg or .png file"
        _add_nothing(folder, base, wanted, listing, hint, diagnostics)


def check_annotations(folder: Path, base: Path, diagnostics: Diagnostics, *, sharded: bool = False) -> None:
    """Add a fault unless there is at least one JSON file; sharded: whether other hosts were given the rest."""
    listing = _listed(folder, base, lambda: list_files(folder, ANNOTATION_SUFFIXES, 1), diagnostics, sharded)
    if listing is not None and not listing.found:
        hint = "the channel must hold one JSON file for each image"
        if ".xml" in listing.others:
            hint += f", and XML is none: {VOC_REMEDY}"
        elif sharded:
            hint = NO_SHARE
        _add_nothing(folder, base, ".json file", listing, hint, diagnostics)


def check_model(folder: Path, base: Path, diagnostics: Diagnostics) -> None:
    """Add a fault unless there is exactly one model: an archive, or the parameters that were in it."""
    listing = _listed(folder, base, lambda: list_models(folder), diagnostics)
    if listing is not None:
        hint = f"the channel must hold the {MODEL_ARCHIVE} of a training job, or the files in it"
        hint += listing.remedy_for_weights()
        _check_only_one(folder, base, MODEL_ARCHIVE, listing, hint, diagnostics)


def check_pretrained(folder: Path, base: Path, diagnostics: Diagnostics) -> None:
    """Add a fault unless there is exactly one file of weights, or the archive of a model."""
    listing = _listed(folder, base, lambda: list_pretrained(folder), diagnostics)
    if listing is not None:
        hint = f"the channel must hold one, the {MODEL_ARCHIVE} of a training job, or a file of another name alone"
        _check_only_one(folder, base, ".params, .onnx or .pth file", listing, hint, diagnostics)


def _listed(
    folder: Path, base: Path, list_folder: Callable[[], FileListing], diagnostics: Diagnostics, sharded: bool = False
) -> FileListing | None:
    """List a folder; None with a fault when it is missing, no folder, unreadable or empty.

    Links whose target is not there are a fault where nothing else fits.
    """
    place = folder.relative_to(base)
    data = f"the data of the {folder.name} channel"
    must = NO_SHARE if sharded else f"{data} must be there"
    try:
        listing = list_folder()
    except FileNotFoundError:
        diagnostics.faults.append(f"{place}: there is no such folder; {must}")
    except NotADirectoryError:
        diagnostics.faults.append(f"{place}: it is a file; it must be a folder with {data}")
    except OSError as error:
        diagnostics.faults.append(f"{error.filename}: it cannot be read ({error.strerror}); {data} must be readable")
    else:
        if listing.dangling and not listing.found:
            diagnostics.faults.append(_dangling_fault(listing.dangling, listing.dangling[0].relative_to(base)))
        if listing.found or listing.others:
            return listing
        if not listing.dangling:
            diagnostics.faults.append(f"{place}: the folder holds no files; {must}")
    return None


def _dangling_fault(links: list[Path], first: Path) -> str:
    """Say of links that their targets are not there; `first`: what the first of them is called."""
    more = f" (and {len(links) - 1:,} more like it)" if len(links) > 1 else ""
    return (
        f"{first}: it is a link to {links[0].readlink()}, which is not there{more}; put the files themselves into the "
        "channel: inside a container only what is mounted is there"
    )


def _add_nothing(
    folder: Path, base: Path, wanted: str, listing: FileListing, hint: str, diagnostics: Diagnostics
) -> None:
    there = listing.describe_others()
    diagnostics.faults.append(f"{folder.relative_to(base)}: there is no {wanted}, but {there}; {hint}")


def _check_only_one(
    folder: Path, base: Path, wanted: str, listing: FileListing, hint: str, diagnostics: Diagnostics
) -> None:
    if not listing.found:
        _add_nothing(folder, base, wanted, listing, hint, diagnostics)
    elif len(listing.found) > 1:
        names = listed([str(file.relative_to(folder)) for file in listing.found[:4]], "and")
        diagnostics.faults.append(
            f"{folder.relative_to(base)}: there are several files to start from, such as {names}; the channel must "
            "hold exactly one"
        )
    else:
        _check_not_empty(listing.found[0], base, "copy or upload it again", diagnostics)


def _check_not_empty(file: Path, base: Path, remedy: str, diagnostics: Diagnostics) -> None:
    """Add a fault for a file that holds nothing, or that was listed and cannot be looked at."""
    try:
        if file.stat().st_size == 0:
            diagnostics.faults.append(f"{file.relative_to(base)}: the file is empty; {remedy}")
    except OSError as error:
        diagnostics.faults.append(f"{file}: it cannot be read ({error.strerror}); it and its folder must be readable")
