"""Writes the licences of all installed packages to stdout, as their own metadata and files give them."""

import re
import sys
from importlib.metadata import Distribution, distributions

TEXT = re.compile(r"(licen[cs]e|copying|notice|copyright|authors|eula)[^/]*$", re.IGNORECASE)
RULE = "=" * 100
NOT_TEXT = (".py", ".pyc", ".so", ".h", ".json")


def main() -> int:
    """Write a chapter for every package; return 1 when one says nothing about its licence."""
    silent = []
    print("This image holds the following packages, beside those of Debian (/usr/share/doc/*/copyright).")
    for package in sorted(distributions(), key=lambda package: package.name.lower()):
        licence, texts = declared(package), licence_texts(package)
        print(f"\n{RULE}\n{package.name} {package.version}\nLicence: {licence or 'see below'}\n{homepage(package)}")
        for name, text in texts.items():
            print(f"\n--- {name}\n{text.strip()}")
        if not licence and not texts:
            silent.append(package.name)
    for name in silent:
        print(f"{name} says nothing about its licence", file=sys.stderr)
    return bool(silent)


def declared(package: Distribution) -> str:
    """Return the licence that the metadata name: an expression, a short name, or classifiers."""
    metadata = package.metadata
    for field in ("License-Expression", "License"):
        given = (metadata[field] or "").strip()
        if given and "\n" not in given and given != "UNKNOWN":
            return given
    classifiers = metadata.get_all("Classifier") or []
    return ", ".join(line.split(" :: ")[-1] for line in classifiers if line.startswith("License :: "))


def homepage(package: Distribution) -> str:
    """Return the address of the project, if the metadata have one."""
    links = dict(link.lower().split(", ", 1) for link in package.metadata.get_all("Project-URL") or [])
    named = [links[label] for label in ("homepage", "source", "source code", "repository", "code") if label in links]
    return package.metadata["Home-page"] or next(iter(named + list(links.values())), "")


def licence_texts(package: Distribution) -> dict[str, str]:
    """Read the package's licence files, and a licence that stands in the metadata as a whole."""
    texts = {}
    for file in package.files or []:
        if TEXT.search(str(file)) and not str(file).endswith(NOT_TEXT) and file.locate().is_file():
            text = file.locate().read_text(encoding="utf-8", errors="replace")
            texts[str(file)] = "".join(letter for letter in text if letter.isprintable() or letter == "\n")
    whole = package.metadata["License"] or ""
    return texts | ({"METADATA": whole} if "\n" in whole else {})


if __name__ == "__main__":
    sys.exit(main())
