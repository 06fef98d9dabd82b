"""docs/development.md shows the code as it is: every file in its tree, and no path that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "sagemaker_ssd"
PAGE = (ROOT / "docs" / "development.md").read_text()


def shown_tree() -> set[str]:
    """Return the files of the page's tree, below the package."""
    begin, end = "<!-- tree -->", "<!-- /tree -->"
    lines = PAGE[PAGE.index(begin) : PAGE.index(end)].splitlines()
    files, folder = set(), ""
    for line in lines[lines.index("src/sagemaker_ssd/") + 1 :]:
        name = line.split()[0] if line.strip() else ""
        indent = len(line) - len(line.lstrip())
        if name.endswith("/"):
            folder = name
        elif name.endswith(".py"):
            files.add(name if indent == 2 else folder + name)
            assert line.split(maxsplit=1)[1:], f"{name} has no description"
    return files


def test_the_tree_shows_every_file_and_no_other():
    there = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    assert shown_tree() == there


def test_every_path_that_the_page_names_is_there():
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md))`", PAGE))
    assert len(named) > 40
    missing = {name for name in named if not (PACKAGE / name).exists() and not (ROOT / name).exists()}
    assert missing == set()
