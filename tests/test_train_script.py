"""What `./train` and `make train` do before the program runs: the environment, the folder, and who reads the log."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from job_runner import ROOT, draw

READERS = {"nobody": "| true", "one line": "2>&1 | head -1", "a full disk": "> /dev/full", "all of it": "2>&1"}


def refused(folder: Path) -> Path:
    """Draw a job that ends at once, with 1."""
    base = folder / "opt_ml"
    draw(base, "--train", "1", "--validation", "1")
    config = base / "input" / "config" / "hyperparameters.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_classes": "0"}))
    return base


@pytest.mark.parametrize("reader", READERS)
def test_the_exit_code_is_the_jobs_whoever_reads_the_log(reader: str, tmp_path: Path):
    base = refused(tmp_path)
    # Where the image sets it, nothing is left to be written at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        ["bash", "-c", f"'{ROOT}/train' {READERS[reader]}; exit ${{PIPESTATUS[0]}}"],
        env={**environment, "SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr == ""
    assert "num_classes" in (base / "output" / "failure").read_text()


@pytest.mark.parametrize("name", ["calendar", "json", "logging", "sagemaker_ssd"])
def test_a_file_of_a_modules_name_in_the_folder_is_not_run(name: str, tmp_path: Path):
    base = refused(tmp_path)
    (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
    ended = subprocess.run(
        [ROOT / "train"], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "num_classes" in (base / "output" / "failure").read_text()


def not_there(folder: Path) -> None:
    """Leave the checkout without an environment."""


def bare(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)


def without_a_python_that_starts(folder: Path) -> None:
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho wrong machine >&2\nexit 126\n")
    python.chmod(0o755)


LACKING = {
    not_there: "it lacks ",
    bare: "it lacks sagemaker_ssd, pydantic, mxnet, sagemaker_training, uvicorn, starlette",
    without_a_python_that_starts: "it lacks a Python that starts; it says: wrong machine",
}


@pytest.mark.parametrize("environment", LACKING)
def test_an_environment_that_is_not_complete_is_told(environment, tmp_path: Path):
    checkout = tmp_path / "my checkout"
    (checkout / "src" / "sagemaker_ssd").mkdir(parents=True)
    shutil.copy(ROOT / "train", checkout)
    environment(checkout)
    # Without this checkout's own packages, as a machine has its Python.
    path = "/usr/bin:/bin"
    variables = {"PATH": path, "SAGEMAKER_BASE_DIR": str(tmp_path / "opt_ml")}
    ended = subprocess.run([checkout / "train"], env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    sentence = (tmp_path / "opt_ml" / "output" / "failure").read_text()
    assert ended.stderr == sentence + "\n"
    assert LACKING[environment] in sentence
    assert sentence.endswith(f"run `make setup` in {checkout}")


def test_a_notice_on_stderr_is_no_fault_of_the_environment(tmp_path: Path):
    base = refused(tmp_path)
    # The dynamic linker complains at the start of every program.
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), "LD_PRELOAD": "/not/there.so"}
    ended = subprocess.run([ROOT / "train"], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert "/not/there.so" in ended.stderr
    assert ended.returncode == 1
    assert "num_classes" in (base / "output" / "failure").read_text()


def test_make_train_in_a_path_with_a_space(tmp_path: Path):
    checkout = tmp_path / "my checkout"
    (checkout / "local_test").mkdir(parents=True)
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    shutil.copy(ROOT / "Makefile", checkout)
    # In their places stand programs that say what they were given.
    (checkout / "local_test" / "draw_sample.py").write_text("import sys; print(sys.argv[1:])")
    (checkout / "train").write_text('#!/bin/sh\necho "$SAGEMAKER_BASE_DIR"\n')
    (checkout / "train").chmod(0o755)
    command = ["make", "-s", "-o", "setup", "train", "SAMPLE=--train 2"]
    ended = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "['local_test/opt_ml', '--train', '2']",
        str(checkout / "local_test" / "opt_ml"),
    ]
