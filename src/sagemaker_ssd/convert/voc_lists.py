"""The split lists of PASCAL VOC: one image a line, as a stem or a file name."""

import posixpath
from pathlib import Path

from sagemaker_ssd.convert.examples import split_off
from sagemaker_ssd.convert.images import IMAGE_ENDINGS

# The second column of the devkit's lists for one class: present, absent, only difficult ones.
_SECOND_COLUMN = ("1", "-1", "0")


class SplitLists:
    """Finds the XML files of each split below `annotations`, gathering `faults` and `notes`."""

    def __init__(self, annotations: Path) -> None:
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._annotations = annotations

    def read(
        self, train: Path | None, validation: Path | None, fraction: float, seed: int
    ) -> tuple[list[str], list[str]]:
        """Return the stems of both splits, paths of the XML files without `.xml`.

        No list for `train` means all XML files that the other list does not name; none for `validation` means
        that `fraction` of the first is split off.
        """
        chosen = self._read_list(validation) if validation else []
        if train:
            stems = self._read_list(train)
        else:
            files = sorted(self._annotations.rglob("*.xml"))
            everything = [path.relative_to(self._annotations).with_suffix("").as_posix() for path in files]
            others = set(chosen)
            stems = [stem for stem in everything if stem not in others]
        if not validation:
            stems, chosen = split_off(stems, fraction, seed)
        if not self.faults:
            splits = {"train": stems, "validation": chosen}
            self.faults += [f"the {name} split has no image" for name, split in splits.items() if not split]
        return stems, chosen

    def _read_list(self, path: Path) -> list[str]:
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self.faults.append(f"{path} cannot be read: {reason}")
            return []
        stems: dict[str, None] = {}
        repeated = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            stem = self._find(line.strip())
            if stem is None:
                name = _candidates(line.strip())[-1]
                self.faults.append(f"{path}, line {number}: there is no {self._annotations / name}.xml")
            elif stem in stems:
                repeated += 1
            else:
                stems[stem] = None
        if repeated:
            self.notes.append(f"{path}: lines that repeat an image: {repeated:,}, left out")
        return list(stems)

    def _find(self, line: str) -> str | None:
        for stem in _candidates(line):
            if ".." not in stem.split("/") and (self._annotations / f"{stem}.xml").is_file():
                return stem
        return None


def _candidates(line: str) -> list[str]:
    """What a line may mean, from the letter (names can hold spaces and dots) to its first column's stem."""
    names = [line]
    columns = line.rsplit(maxsplit=1)
    if len(columns) == 2 and columns[1] in _SECOND_COLUMN:
        names.append(columns[0])
    stems = []
    for name in names:
        stem, ending = posixpath.splitext(name)
        stems.append(name)
        if ending.lower() in (*IMAGE_ENDINGS, ".xml"):
            stems.append(stem)
    return [posixpath.normpath(stem).lstrip("/") for stem in stems]
