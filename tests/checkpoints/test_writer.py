"""Checkpoints of a real job's settings, written where the disk has room and where it has none."""

import json
import os
import subprocess
import sys
from pathlib import Path

from written_checkpoints import names

from job_runner import draw

# Epochs 0 to 5, of which 0 and 2 are the best so far. The limit on a file's size stands for a full disk: it holds while
# the epochs named on the command line are written.
PROGRAM = """
import resource, sys
from pathlib import Path
from written_checkpoints import arrays
from sagemaker_ssd import logs
from sagemaker_ssd.artifacts.model_files import save_arrays
from sagemaker_ssd.checkpoints.search import newest_checkpoint
from sagemaker_ssd.checkpoints.writer import CheckpointWriter
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.training.optimizer import OptimizerState
from sagemaker_ssd.training.state import History, TrainingState

logs.configure()
job, full = read_job(Path(sys.argv[1])), set(map(int, sys.argv[2].split()))
folder = Path(sys.argv[1]) / "checkpoints"
folder.mkdir()
writer = CheckpointWriter(folder, job, start={}, data={}, training_images=3, best=None, precision_dtype="float32")
history = History()
for epoch, score in enumerate([0.1, 0.1, 0.5, 0.2, 0.2, 0.2]):
    of = arrays(epoch)
    if history.add({"epoch": epoch}, score, 1.0):
        job.paths.model.mkdir(exist_ok=True)
        named = {f"arg:{name}": array for name, array in of.arguments.items()}
        named |= {f"aux:{name}": array for name, array in of.states.items()}
        save_arrays(job.paths.model / "model_algo_1-0000.params", named)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if epoch in full else most, most))
    try:
        writer.write(TrainingState(of.arguments, of.states, OptimizerState(of.optimizer, epoch)), history)
    except UserError as error:
        print("ended", epoch, error)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
found = newest_checkpoint(folder)
print("newest", found.manifest and (found.manifest.epoch, found.manifest.best_epoch), found.lost)
"""


def written(folder: Path, full: str) -> str:
    draw(folder, "--train", "1", "--validation", "1")
    command = [sys.executable, "-c", PROGRAM, str(folder), full]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_without_an_older_one_a_full_disk_ends_the_job(tmp_path: Path):
    told = written(tmp_path, "0")
    assert "ended 0 a quota, or the limit on a file's size (ulimit -f), is reached: the checkpoint in" in told
    assert "newest None None" in told


def test_with_an_older_one_it_is_a_warning_once_and_the_next_that_has_room_is_whole(tmp_path: Path):
    told = written(tmp_path, "3 4")
    assert "ended" not in told
    assert told.count("could not be written") == 1
    assert "The checkpoint of epoch 3 could not be written, so that of epoch 2 stays the newest one until" in told
    assert "VolumeSizeInGB" in told
    assert "newest (5, 2) None" in told
    assert {name for name in names(tmp_path / "checkpoints") if name.endswith("json")} == {
        "sagemaker-ssd-0002.json",
        "sagemaker-ssd-0005.json",
    }


def test_the_best_epochs_arrays_come_from_the_model_where_their_checkpoint_had_no_room(tmp_path: Path):
    told = written(tmp_path, "2 3")
    assert "The checkpoint of epoch 2 could not be written, so that of epoch 1 stays the newest one until" in told
    assert "newest (5, 2) None" in told
    manifest = json.loads((tmp_path / "checkpoints" / "sagemaker-ssd-0005.json").read_text())
    assert set(manifest["files"]) == {"sagemaker-ssd-0002.params", "sagemaker-ssd-0005.params"}
