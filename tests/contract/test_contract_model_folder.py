"""A kill at any moment leaves the old model, or, once the next process has cleared up, the new one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from sagemaker_ssd.contract.model_folder import finish_publication, model_state, publish, staging_folder

NAMES = ("model_algo_1-symbol.json", "model_algo_1-0000.params", "hyperparams.json")


def stage(model: Path, version: str) -> None:
    staging = staging_folder(model)
    for name in NAMES:
        (staging / name).write_text(f"{version} {name}")


def put(model: Path, version: str) -> None:
    stage(model, version)
    publish(model)


def version_in(model: Path) -> str:
    """Return which model is in place, after seeing that it is whole and that nothing else is there."""
    assert sorted(file.name for file in model.iterdir()) == sorted(NAMES)
    (version,) = {(model / name).read_text().removesuffix(f" {name}") for name in NAMES}
    return version


def killed_at_call(number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that kills itself with signal 9 before its n-th system call; False when it got through.

    An audit hook is told of every rename, removal, mkdir, listing and open just before Python does it.
    """
    child = os.fork()
    if child == 0:
        calls = count(1)

        def kill_at(event: str, arguments: object) -> None:
            if event.startswith(("os.", "open", "shutil.")) and next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(kill_at)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "the child failed by itself"
    return status == signal.SIGKILL


def states_after_kills(tmp_path: Path, prepare, work) -> list[Path]:
    """Kill `work` at its first, second, ... call, each in a folder of its own, until it gets through."""
    models = []
    for number in count(1):
        model = tmp_path / str(number)
        prepare(model)
        models.append(model)
        if not killed_at_call(number, lambda model=model: work(model)):
            return models
    raise AssertionError


def test_publishing_replaces_the_whole_model(tmp_path):
    model = tmp_path / "model"
    assert model_state(model) is None
    put(model, "old")
    assert version_in(model) == "old"
    before = model_state(model)
    assert before is not None
    put(model, "new")
    assert version_in(model) == "new"
    assert model_state(model) not in (None, before)
    assert finish_publication(model) is False


def test_a_kill_at_any_call_of_publish_leaves_old_or_new(tmp_path):
    def prepare(model: Path) -> None:
        put(model, "old")
        stage(model, "new")

    models = states_after_kills(tmp_path, prepare, publish)
    seen = []
    for model in models:
        decided = not (model / ".staging").exists()
        if not decided:
            # Before the deciding rename nothing of the old model has been touched.
            assert all((model / name).read_text() == f"old {name}" for name in NAMES)
        unfinished = (model / ".publishing").exists()
        partly = sum((model / name).read_text().startswith("new") for name in NAMES)
        assert finish_publication(model) is unfinished
        seen.append((version_in(model), partly))
        assert version_in(model) == ("new" if decided else "old")
    # Every state between was there: none, one, two and three of the files moved.
    assert ("old", 0) in seen
    assert {("new", moved) for moved in range(4)} <= set(seen)


def test_a_kill_while_clearing_up_does_no_harm(tmp_path):
    def prepare(model: Path) -> None:
        put(model, "old")
        stage(model, "new")
        (model / ".staging").rename(model / ".publishing")
        (model / ".publishing" / NAMES[0]).rename(model / NAMES[0])
        stage(model, "half")
        (model / ".staging" / NAMES[2]).unlink()

    for model in states_after_kills(tmp_path, prepare, finish_publication):
        finish_publication(model)
        assert version_in(model) == "new"


def test_a_kill_while_staging_does_no_harm(tmp_path):
    def prepare(model: Path) -> None:
        put(model, "old")
        stage(model, "half")

    for model in states_after_kills(tmp_path, prepare, lambda model: stage(model, "new")):
        assert finish_publication(model) is False
        assert version_in(model) == "old"


def test_the_first_model_of_all(tmp_path):
    for model in states_after_kills(tmp_path, lambda model: stage(model, "new"), publish):
        state = model_state(model)
        if state is not None:
            # The parameters come last, so the other two stand beside them.
            assert all((model / name).exists() for name in NAMES)
        if finish_publication(model) or state is not None:
            assert version_in(model) == "new"
        else:
            assert list(model.iterdir()) == []


def moved(files: int) -> Callable[[Path], None]:
    def prepare(model: Path) -> None:
        stage(model, "new")
        (model / ".staging").rename(model / ".publishing")
        for name in NAMES[:files]:
            (model / ".publishing" / name).rename(model / name)

    return prepare


@pytest.mark.parametrize("files", range(4))
@pytest.mark.parametrize("leftover", [False, True])
def test_every_state_made_by_hand(tmp_path, files, leftover):
    model = tmp_path / "model"
    put(model, "old")
    moved(files)(model)
    if leftover:
        stage(model, "half")
    assert finish_publication(model) is True
    assert version_in(model) == "new"
    assert finish_publication(model) is False


def test_only_a_staging_folder_left(tmp_path):
    model = tmp_path / "model"
    put(model, "old")
    before = model_state(model)
    stage(model, "new")
    assert finish_publication(model) is False
    assert version_in(model) == "old"
    assert model_state(model) == before


def test_publishing_finishes_what_another_process_left(tmp_path):
    model = tmp_path / "model"
    put(model, "old")
    moved(1)(model)
    put(model, "newest")
    assert version_in(model) == "newest"


def test_a_folder_without_a_model(tmp_path):
    assert finish_publication(tmp_path / "none") is False
    assert finish_publication(tmp_path) is False
    assert model_state(tmp_path) is None


def test_staging_is_empty_and_keeps_what_else_is_there(tmp_path):
    model = tmp_path / "deep" / "model"
    stage(model, "half")
    (model / "notes.txt").write_text("mine")
    assert list(staging_folder(model).iterdir()) == []
    assert (model / "notes.txt").read_text() == "mine"


LOOP = """
import sys
from pathlib import Path
from itertools import count
from sagemaker_ssd.contract.model_folder import publish, staging_folder
model = Path(sys.argv[1])
for number in count():
    staging = staging_folder(model)
    for name in sys.argv[2:]:
        (staging / name).write_text(f"{number} {name}")
    publish(model)
    print(number, flush=True)
"""


def test_a_process_killed_at_a_random_moment(tmp_path):
    draw = random.Random(0)
    model = tmp_path / "model"
    for _ in range(8):
        command = [sys.executable, "-c", LOOP, str(model), *NAMES]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(draw.uniform(0, 0.02))
            child.kill()
            told = [int(line) for line in child.stdout if line.endswith("\n")]
        finish_publication(model)
        assert int(version_in(model)) in (max([0, *told]), max([0, *told]) + 1)
