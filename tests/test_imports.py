"""Imports go only in the directions of the design: programs above, parts below, and no part knows its sibling."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "sagemaker_ssd"
ALLOWED = {
    "errors": set(),
    "logs": set(),
    "version": set(),
    "durability": set(),
    "cores": set(),
    "contract": {"errors", "durability"},
    "link": {"contract", "errors"},
    "launch": {"link", "contract", "errors", "cores"},
    "supervisor": {"launch", "contract", "errors", "logs", "version"},
    "__main__": {"supervisor"},
    "data": {"errors", "cores"},
    "model": {"errors"},
    "engine": {"errors"},
    "artifacts": {"errors", "durability"},
    "report": {"errors"},
    "export": {"model", "artifacts", "errors", "version"},
    "detection": {"contract", "data", "model", "engine", "artifacts", "cores", "errors"},
    "worker": {
        "export",
        "detection",
        "report",
        "contract",
        "data",
        "model",
        "engine",
        "artifacts",
        "errors",
        "cores",
        "logs",
        "version",
    },
    # Command-line tools: they import what the worker may, and nothing imports them.
    "predict": {"detection", "errors"},
    "evaluate": {"detection", "report", "data", "artifacts", "cores", "errors"},
    "convert": {"data", "model", "engine", "artifacts", "contract", "errors", "logs"},
    "weights": {"data", "model", "engine", "artifacts", "contract", "errors", "logs"},
}
WITHOUT_MXNET = {
    "errors",
    "cores",
    "durability",
    "logs",
    "version",
    "contract",
    "link",
    "launch",
    "supervisor",
    "__main__",
}


def part_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(file for file in ROOT.rglob("*.py") if file != ROOT / "__init__.py")


def imported(file: Path) -> set[str]:
    """Return every module that a file names in an import, at any depth of the code."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the direction"
            assert node.module is not None
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_every_part_has_its_place():
    assert {part_of(file) for file in FILES} == set(ALLOWED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_directions(file: Path):
    part = part_of(file)
    ours = {name.split(".")[1] for name in imported(file) if name.startswith("sagemaker_ssd.")}
    assert ours - {part} <= ALLOWED[part]


@pytest.mark.parametrize("file", [file for file in FILES if part_of(file) in WITHOUT_MXNET], ids=str)
def test_no_mxnet_in_the_supervisors_process(file: Path):
    heavy = {name for name in imported(file) if name.split(".")[0] in {"mxnet", "gluoncv", "numpy", "cv2"}}
    assert heavy == set()


def test_importing_the_supervisor_imports_nothing_heavy():
    heavy = "{'mxnet', 'gluoncv', 'numpy', 'cv2', 'sagemaker_training', 'boto3'}"
    code = f"import sys, sagemaker_ssd.supervisor; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_rooms_stay_small(file: Path):
    lines = file.read_text().splitlines()
    assert len(lines) <= 200
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 45, f"{node.name} is long"
