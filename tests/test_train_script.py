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


def of_another_folder(folder: Path) -> None:
    """Leave it as a checkout has it that was copied: the program is installed from where it was."""
    (folder / ".venv").symlink_to(sys.prefix)


LACKING = {
    not_there: "it lacks ",
    bare: "it lacks sagemaker_ssd, pydantic, mxnet, sagemaker_training, uvicorn, starlette",
    without_a_python_that_starts: "it lacks a Python that starts; it says: wrong machine",
    of_another_folder: f"it lacks the sagemaker_ssd of this folder, as it has that of {ROOT / 'src' / 'sagemaker_ssd'}",
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


def make_checkout(checkout: Path, draw_sample: str) -> None:
    """Make one whose programs say what they were given: draw_sample is Python's, `train` prints the job's folder."""
    (checkout / "local_test").mkdir(parents=True)
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / "local_test" / "draw_sample.py").write_text(draw_sample)
    (checkout / "train").write_text('#!/bin/sh\necho "$SAGEMAKER_BASE_DIR"\n')
    (checkout / "train").chmod(0o755)


def test_make_train_in_a_path_with_a_space(tmp_path: Path):
    checkout = tmp_path / "my checkout"
    make_checkout(checkout, "import os, sys; os.mkdir(sys.argv[1]); print(sys.argv[1:])")
    command = ["make", "-s", "-o", "setup", "train", "SAMPLE=--train 2"]
    ended = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "['local_test/opt_ml', '--train', '2']",
        str(checkout / "local_test" / "opt_ml"),
    ]


def test_an_environment_of_another_folder_is_made_anew(tmp_path: Path):
    environment = tmp_path / ".venv"
    for path in (environment / "bin", tmp_path / "src" / "sagemaker_ssd"):
        path.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements-build.lock", "requirements-dev.lock", "pyproject.toml", "src/sagemaker_ssd/__init__.py"):
        (tmp_path / name).touch()
    (environment / ".complete").touch()

    def commands() -> str:
        command = ["make", "--dry-run", "setup"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    python = environment / "bin" / "python"
    python.symlink_to("no-longer-there")
    assert "rm -rf .venv" in commands()
    for place, anew in ((ROOT, True), (tmp_path, False)):
        python.unlink()
        python.write_text(f"#!/bin/sh\necho {place}/src/sagemaker_ssd/__init__.py\n")
        python.chmod(0o755)
        assert ("rm -rf .venv" in commands()) == anew


@pytest.mark.parametrize("absolute", [True, False])
def test_make_train_draws_and_trains_in_one_folder(absolute: bool, tmp_path: Path):
    make_checkout(
        tmp_path,
        "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir(); print(pathlib.Path(sys.argv[1]).resolve())",
    )
    job = f"{tmp_path / 'a job'}" if absolute else "a job"
    command = ["make", "-s", "-o", "setup", "train", f"JOB={job}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.splitlines() == [str(tmp_path / "a job")] * 2, ended.stderr
