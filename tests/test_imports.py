"""Imports go only in the directions of the design: programs above, parts below, and no part knows its sibling."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "sagemaker_ssd"
# The parts that a part may import, from the bottom to the top.
ALLOWED = {
    "errors": set(),
    "logs": set(),
    "progress": set(),
    "version": set(),
    "cgroups": set(),
    "cores": {"cgroups"},
    "memory": {"cgroups"},
    "files": {"errors"},
    "data_formats": {"errors"},
    "fonts": set(),
    "native_faults": set(),
    "commands": {"errors", "files"},
    "boxes": {"errors"},
    "collectives": {"errors"},
    "contract": {"data_formats", "errors", "files"},
    # The program behind `train`.
    "processes": {"contract", "errors"},
    "amx": {"processes"},
    "coordination": {"contract", "errors"},
    "gpu": {"processes", "errors", "version"},
    "supervisor": {
        "amx",
        "processes",
        "gpu",
        "coordination",
        "contract",
        "data_formats",
        "errors",
        "files",
        "cores",
        "logs",
        "version",
        "progress",
    },
    # The program behind `serve`: the front, which starts `hosting` as a child process.
    "serving": {"processes", "gpu", "contract", "data_formats", "errors", "cores", "logs", "version"},
    "__main__": {"supervisor", "serving", "check_gpu", "commands"},
    # What a training is made of; plain arguments, no hyperparameters and no paths of the contract.
    "channels": {"boxes", "data_formats", "files", "errors", "cores"},
    "batches": {"channels", "boxes", "files", "errors"},
    "ssd": {"errors"},
    "training": {"errors"},
    # The names of the model's files are the contract's.
    "artifacts": {"contract", "data_formats", "files", "errors"},
    # Files from elsewhere are read and converted.
    "pretrained": {"artifacts", "ssd", "errors"},
    "checkpoints": {"artifacts", "training", "collectives", "contract", "files", "errors", "version"},
    "scoring": {
        "amx",
        "gpu",
        "native_faults",
        "commands",
        "batches",
        "channels",
        "boxes",
        "ssd",
        "artifacts",
        "contract",
        "files",
        "errors",
        "cores",
        "progress",
    },
    "report": {"scoring", "boxes", "files", "fonts", "errors"},
    # With its command, which no other module imports.
    "export": {
        "commands",
        "native_faults",
        "scoring",
        "ssd",
        "artifacts",
        "contract",
        "files",
        "errors",
        "progress",
        "version",
    },
    "worker": {
        "amx",
        "checkpoints",
        "scoring",
        "report",
        "export",
        "pretrained",
        "channels",
        "batches",
        "ssd",
        "training",
        "artifacts",
        "contract",
        "processes",
        "native_faults",
        "gpu",
        "collectives",
        "files",
        "errors",
        "cores",
        "logs",
        "memory",
        "progress",
        "version",
    },
    # What detects for `serving`.
    "hosting": {"scoring", "channels", "ssd", "contract", "processes", "gpu", "errors", "logs", "memory"},
    # What `train check-gpu` starts.
    "check_gpu": {
        *("supervisor", "gpu", "processes", "coordination", "worker", "scoring", "ssd", "training", "batches"),
        *("channels", "commands", "contract", "cores", "errors", "native_faults", "version"),
    },
    # Command-line tools: nothing imports them.
    "predict": {"scoring", "commands", "files", "fonts", "errors", "progress"},
    "evaluate": {"scoring", "report", "channels", "contract", "commands", "files", "cores", "errors", "progress"},
    "convert": {"channels", "boxes", "contract", "data_formats", "commands", "files", "errors", "progress"},
    "weights": {"pretrained", "ssd", "artifacts", "contract", "commands", "gpu", "files", "errors", "native_faults"},
}
WITHOUT_MXNET = {
    "errors",
    "cgroups",
    "cores",
    "memory",
    "files",
    "native_faults",
    "data_formats",
    "commands",
    "collectives",
    "logs",
    "version",
    "contract",
    "processes",
    "coordination",
    "gpu",
    "supervisor",
    "serving",
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
    code = f"import sys, sagemaker_ssd.supervisor.main; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
