"""Which JSON belongs to which image of a channel in image format."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.data.annotations import Annotation


def find_files(root: Path, endings: Collection[str]) -> list[str]:
    """List the files below `root` that end so, in any case: sorted paths with `/`, without hidden ones."""
    found: list[str] = []
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(folder).relative_to(root)
        for name in files:
            if not name.startswith(".") and name.lower().endswith(tuple(endings)):
                found.append((below / name).as_posix())
    return sorted(found)


@dataclass(frozen=True)
class Pairing:
    """The annotation of each image, in the images' order, and what is left over on either side.

    `second` holds the JSONs whose image has another JSON already, each with that image.
    """

    annotations: dict[str, Annotation]
    images_without_json: list[str]
    jsons_without_image: list[str]
    second: list[tuple[str, str]]


def pair(images: Sequence[str], annotations: Sequence[Annotation]) -> Pairing:
    """Give each annotation its image: by `file`, else by the JSON's own name, else by the name at the end of `file`.

    Where two JSONs want one image, it goes to the one that is named like it.
    """
    candidates = _Candidates(images)
    wanted = [(annotation, list(candidates.of(annotation))) for annotation in annotations]
    # Stable, so otherwise in order: first the JSONs that want the image they are named like.
    wanted.sort(key=lambda pair: not pair[1] or _stem(pair[1][0]) != _stem(pair[0].path))
    taken: dict[str, Annotation] = {}
    without_image: list[str] = []
    second: list[tuple[str, str]] = []
    for annotation, choices in wanted:
        free = [image for image in choices if image not in taken]
        if free:
            taken[free[0]] = annotation
        elif choices:
            second.append((annotation.path, choices[0]))
        else:
            without_image.append(annotation.path)
    return Pairing(
        annotations={image: taken[image] for image in images if image in taken},
        images_without_json=[image for image in images if image not in taken],
        jsons_without_image=without_image,
        second=second,
    )


class _Candidates:
    def __init__(self, images: Sequence[str]) -> None:
        self._images = frozenset(images)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for image in images:
            self._by_stem[_stem(image)].append(image)
            self._by_name[posixpath.basename(image)].append(image)

    def of(self, annotation: Annotation) -> Iterator[str]:
        """Yield the images that an annotation may mean, the likeliest first."""
        file = annotation.file.replace("\\", "/")
        file = posixpath.normpath(file).lstrip("/") if file else ""
        name = posixpath.basename(file)
        if file in self._images:
            yield file
        # dog.jpg beside dog.png: `file` tells which.
        namesakes = self._by_stem.get(_stem(annotation.path), [])
        yield from sorted(namesakes, key=lambda image: posixpath.basename(image) != name)[:1]
        if len(self._by_name.get(name, [])) == 1:
            yield self._by_name[name][0]


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]
