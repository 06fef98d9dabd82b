"""Jobs that are interrupted and started again: they go on from their checkpoint as if nothing had happened."""

import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx
import pytest

from ended_job import BEST_MAP, MADE_OF_THE_MODEL, MODEL, Ended, leave_another_models_outputs
from event_reader import assert_curves
from job_runner import Job, Watched, draw

pytestmark = pytest.mark.long

SETTINGS = {
    "sgd": {"epochs": "2", "lr_scheduler_step": "1", "overlap_threshold": "0.1"},
    # No box is found exactly, so that the mAP stays 0 and the second epoch without improvement ends the job.
    "adam": {
        "epochs": "9",
        "optimizer": "adam",
        "overlap_threshold": "1",
        "early_stopping": "true",
        "early_stopping_min_epochs": "2",
        "early_stopping_patience": "1",
    },
}
TOLD = re.compile(r"epoch=\d+, batch=.*|epoch=\d+, validation mAP.*|Early stopping after.*|completed .* % of epochs")
FOLDER = "kept/checkpoints"
PARAMETERS = "model/model_algo_1-0000.params"
# For a person to watch, beside the checkpoints.
PROGRESS = {"progress.html", "progress.json"}


@dataclass(frozen=True)
class Twins:
    """The same job, once in one go and once killed after its first epoch, in `before`, and started again."""

    straight: Ended
    before: str
    resumed: Ended


def drawn(folder: Path, **hyperparameters: str) -> Job:
    job = Job(folder / "opt_ml", folder / "tmp")
    job.temporary.mkdir(parents=True)
    draw(job.base, "--train", "3", "--validation", "2")
    job.config("checkpointconfig").write_text(json.dumps({"LocalPath": f"/opt/ml/{FOLDER}"}))
    job.set(mini_batch_size="2", num_training_samples="3", seed="3", **hyperparameters)
    return job


def killed_after_an_epoch(job: Job) -> str:
    """Run a job until its first checkpoint is written, kill it, and return its log."""
    running = Watched(job.start())
    running.until("Checkpoint of epoch 0")
    # Its worker dies with it, and the log ends when both are gone.
    running.process.kill()
    running.end()
    return "".join(running.lines)


@pytest.fixture(scope="module")
def twins_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Twins]]:
    folder = tmp_path_factory.mktemp("twins")
    made: dict[str, Twins] = {}

    def twins(name: str) -> Twins:
        if name not in made:
            straight = drawn(folder / name / "straight", **SETTINGS[name]).run()
            job = drawn(folder / name / "interrupted", **SETTINGS[name])
            before = killed_after_an_epoch(job)
            # As in a new container, where only the checkpoints are there again.
            shutil.rmtree(job.base / "model")
            shutil.rmtree(job.base / "output")
            made[name] = Twins(straight, before, job.run())
        return made[name]

    yield twins
    shutil.rmtree(folder)


@pytest.fixture
def finished(twins_of: Callable[[str], Twins], tmp_path: Path) -> Iterator[Callable[[str], Job]]:
    """Copy a finished job of two epochs into a new container; its large files are shared, as jobs only replace them."""

    def copy_file(source: str, target: str) -> None:
        (os.link if source.endswith(".params") else shutil.copy2)(source, target)

    def copied(name: str) -> Job:
        job = Job(tmp_path / "opt_ml", tmp_path / "tmp")
        job.temporary.mkdir()
        base = twins_of(name).resumed.base
        for part in ("input", FOLDER):
            shutil.copytree(base / part, job.base / part, copy_function=copy_file)
        return job

    yield copied
    shutil.rmtree(tmp_path)


def manifest(base: Path, epoch: int) -> dict:
    return json.loads((base / FOLDER / f"sagemaker-ssd-{epoch:04d}.json").read_text())


def without_times(epochs: list[dict]) -> list[dict]:
    measured = ("seconds", "seconds_waiting_for_data", "images_per_second")
    return [
        {**epoch, "train": {key: value for key, value in epoch["train"].items() if key not in measured}}
        for epoch in epochs
    ]


def best_maps(log: str) -> list[float]:
    return [float(value) for value in BEST_MAP.findall(log)]


def broken(job: Job, name: str, content: bytes) -> None:
    """Replace a checkpoint's file, without changing the finished job's own."""
    path = job.base / FOLDER / name
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_bit_is_that_of_an_uninterrupted_job(name: str, twins_of: Callable[[str], Twins]):
    twins = twins_of(name)
    straight, resumed = twins.straight, twins.resumed
    assert (straight.code, resumed.code) == (0, 0), straight.log + resumed.log
    newest = resumed.base / FOLDER / "sagemaker-ssd-0000.json"
    assert f"Resuming after epoch 0 of {SETTINGS[name]['epochs']} from {newest}" in resumed.log
    assert "from scratch" not in resumed.log
    # The digests are those of the weights, BatchNorm's states and the optimizer's arrays.
    expected, found = manifest(straight.base, 1), manifest(resumed.base, 1)
    for key in ("files", "updates", "scores", "lowest_loss", "best_epoch", "hyperparameters", "start", "data"):
        assert found[key] == expected[key], key
    for file in MODEL:
        assert (resumed.base / "model" / file).read_bytes() == (straight.base / "model" / file).read_bytes()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_log_and_the_metrics_go_on(name: str, twins_of: Callable[[str], Twins]):
    twins = twins_of(name)
    done = r"completed \S+ % of epochs"
    # The kill came after the first epoch's checkpoint: perhaps before the line that says how much is done, perhaps when
    # the second epoch had told of its losses, which is trained anew.
    expected = TOLD.findall(twins.straight.log)
    expected.remove(re.findall(done, twins.straight.log)[0])
    told = TOLD.findall(twins.before)
    before = [line for line in told if not re.fullmatch(done, line) and not line.startswith("epoch=1,")]
    assert before + TOLD.findall(twins.resumed.log) == expected
    # A resumed job tells the best mAP so far again: it may be stopped before its next evaluation.
    best = best_maps(twins.straight.log)
    assert best_maps(twins.before) == best[:1]
    assert best_maps(twins.resumed.log) == best
    assert best[-1] == twins.resumed.metrics["best_mAP"]
    # The resumed job's folder for TensorBoard was empty, as in a new container.
    for ended in (twins.straight, twins.resumed):
        assert_curves(ended.base, ended.metrics, ["circle", "square", "triangle"])
    straight, resumed = twins.straight.metrics, twins.resumed.metrics
    assert len(resumed["epochs"]) == 2
    assert without_times(resumed["epochs"]) == without_times(straight["epochs"])
    assert straight["start"] == {"from": "scratch", "seed": 3}
    assert resumed["start"] == {"from": "scratch", "seed": 3, "resumed_after_epoch": 0}
    for key in ("best_epoch", "best_mAP", "ended_early", "data", "hyperparameters"):
        assert resumed[key] == straight[key], key


def test_what_the_twins_show(twins_of: Callable[[str], Twins]):
    """The settings above do what they are there for."""
    sgd, adam = twins_of("sgd").straight, twins_of("adam").straight
    rates = [epoch["learning_rate"] for epoch in sgd.metrics["epochs"]]
    assert rates == [0.001, 0.0001]
    assert "Early stopping after epoch 1" in adam.log
    assert adam.metrics["ended_early"] is True


@pytest.mark.parametrize(
    ("name", "reason"),
    [("sgd", "2 epochs are done, and the job asks for 2"), ("adam", "early stopping ends the job after epoch 1")],
)
def test_a_job_at_its_end_puts_model_and_metrics_back(
    name: str, reason: str, finished: Callable[[str], Job], twins_of: Callable[[str], Twins]
):
    straight, job = twins_of(name).straight, finished(name)
    leave_another_models_outputs(job.base)
    ended = job.run()
    assert ended.code == 0, ended.log
    assert f"Nothing is left to train: {reason}: no training was done" in ended.log
    assert "Start training" not in ended.log
    assert best_maps(ended.log) == [ended.metrics["best_mAP"]]
    assert ended.model_files == MODEL
    assert (ended.base / PARAMETERS).read_bytes() == (straight.base / PARAMETERS).read_bytes()
    assert without_times(ended.metrics["epochs"]) == without_times(straight.metrics["epochs"])
    for key in ("best_epoch", "best_mAP", "ended_early", "data"):
        assert ended.metrics[key] == straight.metrics[key], key
    # What a person watches is put back too: the kill may have come before it was written.
    assert_curves(ended.base, ended.metrics, ["circle", "square", "triangle"])
    copied = json.loads((ended.base / FOLDER / "progress.json").read_text())
    assert copied["epochs"] == ended.metrics["epochs"]
    # As is all that is made of the model, which is this job's.
    assert ended.made_of_the_model == list(MADE_OF_THE_MODEL)
    output = ended.base / "output" / "data"
    assert not [name for name in MADE_OF_THE_MODEL if (output / name).read_bytes() == b"of another model"]


def test_more_epochs_go_on_and_a_broken_checkpoint_is_passed_over(
    finished: Callable[[str], Job], twins_of: Callable[[str], Twins]
):
    job = finished("sgd")
    name = "sagemaker-ssd-0001.params"
    content = bytearray((job.base / FOLDER / name).read_bytes())
    content[len(content) // 2] ^= 1
    broken(job, name, content)
    # An mAP that no later epoch reaches.
    broken(job, "sagemaker-ssd-0000.json", json.dumps(manifest(job.base, 0) | {"scores": [0.9]}).encode())
    (job.base / FOLDER / "notes.txt").write_text("mine")
    (job.base / FOLDER / "sagemaker-ssd-0007.params.sagemaker-ignore").write_text("half")
    job.set(epochs="3", label_width="400")
    ended = job.run()
    assert ended.code == 0, ended.log
    path = job.base / FOLDER / "sagemaker-ssd-0001.json"
    assert f"This checkpoint cannot be used: {path}: {name} has changed since it was written" in ended.log
    assert "Resuming after epoch 0 of 3" in ended.log
    assert "completed 100.0 % of epochs" in ended.log
    assert len(ended.metrics["epochs"]) == 3
    assert without_times(ended.metrics["epochs"][:2]) == without_times(twins_of("sgd").straight.metrics["epochs"])
    # By its last value a tuning job ranks the model, not the last epoch.
    assert best_maps(ended.log) == [0.9, 0.9, 0.9]
    assert (ended.metrics["best_mAP"], ended.metrics["best_epoch"]) == (0.9, 0)
    best = f"sagemaker-ssd-{ended.metrics['best_epoch']:04d}.params"
    kept = {f"sagemaker-ssd-000{epoch}.{ending}" for epoch in (1, 2) for ending in ("json", "params")}
    assert {file.name for file in (job.base / FOLDER).iterdir()} == kept | PROGRESS | {best, "notes.txt"}


def test_without_a_whole_checkpoint_the_training_starts_anew(finished: Callable[[str], Job]):
    job = finished("sgd")
    for epoch in (0, 1):
        broken(job, f"sagemaker-ssd-000{epoch}.json", b'{"format": 1, "epo')
    job.set(epochs="1")
    ended = job.run()
    assert ended.code == 0, ended.log
    assert ended.log.count("it is not whole JSON") == 2
    assert "no checkpoint that can be used, so the training starts anew" in ended.log
    assert "Start training from scratch" in ended.log
    names = {"sagemaker-ssd-0000.json", "sagemaker-ssd-0000.params"}
    assert {file.name for file in (job.base / FOLDER).iterdir()} == names | PROGRESS


def test_a_checkpoint_of_another_reader_is_gone_on_from_with_a_warning(finished: Callable[[str], Job]):
    job = finished("sgd")
    for path in (job.base / FOLDER).glob("sagemaker-ssd-*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"program": "0.1.0+g0123"}))
    ended = job.run()
    assert ended.code == 0, ended.log
    assert f"Version 0.1.0+g0123 wrote {job.base / FOLDER}/sagemaker-ssd-0001.json, with another reader" in ended.log


def test_layers_that_are_frozen_without_weights_are_named_again(tmp_path: Path):
    job = drawn(tmp_path, epochs="1", freeze_layer_pattern="^(conv0|stage)")
    for epochs in ("1", "2"):
        job.set(epochs=epochs)
        ended = job.run()
        assert ended.code == 0, ended.log
        assert ("Resuming after epoch 0 of 2" in ended.log) == (epochs == "2")
        assert "freezes layers of a training that began from scratch" in ended.log
        assert "never learn: conv0, stage1_unit1_bn1, stage1_unit1_bn2" in ended.log


def test_other_hyperparameters_are_refused_before_the_channels_are_read(finished: Callable[[str], Job]):
    job = finished("sgd")
    for image in (job.base / "input" / "data" / "train").rglob("*.jpg"):
        image.write_text("not an image")
    job.set(epochs="5", learning_rate="0.01", mini_batch_size="3", optimizer="adam")
    before = {file.name: file.stat().st_mtime_ns for file in (job.base / FOLDER).iterdir()}
    ended = job.run()
    assert ended.code == 1
    assert ended.failure is not None
    first, *different = ended.failure.splitlines()
    assert first.startswith(f"{job.base / FOLDER}/sagemaker-ssd-0001.json is a checkpoint of a job with other ")
    assert "another CheckpointConfig.S3Uri" in first
    assert different == [
        "- learning_rate is '0.01' here and was '0.001' there",
        "- mini_batch_size is '3' here and was '2' there",
        "- optimizer is 'adam' here and was 'sgd' there",
    ]
    assert {file.name: file.stat().st_mtime_ns for file in (job.base / FOLDER).iterdir()} == before


def test_a_training_at_its_end_is_not_taken_for_one_on_other_data(
    finished: Callable[[str], Job], twins_of: Callable[[str], Twins]
):
    job = finished("sgd")
    # In the folders where it came to its end: what was made of its model stays.
    shutil.copytree(twins_of("sgd").resumed.base / "model", job.base / "model")
    leave_another_models_outputs(job.base)
    next((job.base / "input" / "data" / "validation_annotation").rglob("*.json")).unlink()
    ended = job.run()
    assert ended.code == 1, ended.log
    assert re.match(
        r"the data are not those of .*: validation has 1 images and .*, and had 2 and ", ended.failure or ""
    )
    assert "nothing would be learned from these data" in (ended.failure or "")
    assert ended.made_of_the_model == list(MADE_OF_THE_MODEL)


def test_with_other_validation_data_the_best_model_is_scored_again(finished: Callable[[str], Job]):
    job = finished("sgd")
    before = manifest(job.base, 1)
    # As many boxes, elsewhere.
    for path in (job.base / "input" / "data" / "validation_annotation").rglob("*.json"):
        content = json.loads(path.read_text())
        for box in content["annotations"]:
            box["left"], box["top"] = 0, 0
        path.write_text(json.dumps(content))
    job.set(epochs="3")
    ended = job.run()
    assert ended.code == 0, ended.log
    assert "validation has as many images and boxes as it had, but others; the training goes on" in ended.log
    best = before["best_epoch"]
    (line,) = (line for line in ended.log.splitlines() if "The best model so far, of epoch" in line)
    told = re.search(r"of epoch (\d+), had an mAP of (\S+) on the validation data before and has (\S+) on those", line)
    assert told is not None, line
    assert (int(told[1]), float(told[2])) == (best, before["scores"][best])
    after = manifest(job.base, 2)
    rescored = float(told[3])
    assert after["scores"][:2] == [rescored if epoch == best else 0.0 for epoch in range(2)]
    assert after["best_epoch"] == (2 if after["scores"][2] > rescored else best)
    assert (before["validation_since"], after["validation_since"], ended.metrics["validation_since"]) == (0, 2, 2)
    # The best epoch's figures are those on the data of now, the other one's are of its time.
    for of in (after, ended.metrics):
        assert of["epochs"][best]["validation"]["mAP"] == rescored
        assert of["epochs"][1 - best] == before["epochs"][1 - best]
    # The model that is kept, evaluated once more at the end.
    kept = after["scores"][after["best_epoch"]]
    assert ended.metrics["best_mAP"] == kept
    assert best_maps(ended.log) == [rescored, kept]
    assert ended.metrics["best"]["mAP"] == pytest.approx(kept, abs=1e-3)


def test_a_training_from_scratch_is_not_taken_for_one_from_a_model(finished: Callable[[str], Job]):
    job = finished("sgd")
    (job.base / "input" / "data" / "model").mkdir()
    (job.base / "input" / "data" / "model" / "model.tar.gz").write_text("of yesterday")
    channels = job.config("inputdataconfig")
    channels.write_text(json.dumps({**json.loads(channels.read_text()), "model": {}}))
    ended = job.run()
    assert ended.code == 1, ended.log
    assert (ended.failure or "").startswith("the job is to start from model.tar.gz in the channel model, but ")
    assert "is of a training that began from scratch: remove the channel" in (ended.failure or "")


def test_a_stop_right_after_resuming_leaves_the_model(
    finished: Callable[[str], Job], watch: Callable[..., Watched], twins_of: Callable[[str], Twins]
):
    job = finished("sgd")
    next((job.base / "input" / "data" / "train_annotation").rglob("*.json")).unlink()
    job.set(epochs="9")
    # In a folder where other checkpoints brought an earlier job to its end.
    leave_another_models_outputs(job.base)
    running = watch(job)
    running.until("Start training.")
    running.process.send_signal(signal.SIGTERM)
    code, _ = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert (code, ended.failure, ended.model_files) == (0, None, MODEL)
    assert (ended.base / PARAMETERS).read_bytes() == (twins_of("sgd").straight.base / PARAMETERS).read_bytes()
    assert len(ended.metrics["epochs"]) == 2
    # The small report is this job's.
    assert ended.made_of_the_model == ["report.html"]
    assert "of another model" not in (ended.base / "output" / "data" / "report.html").read_text()
    assert "the data are not those of" in ended.log
    assert "train has 2 images and " in ended.log


def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
    finished: Callable[[str], Job], watch: Callable[..., Watched]
):
    # A limit on the size of files stands for the full disk: the model of resnet-50 is 110 MB, its checkpoint 220 MB.
    job = finished("sgd")

    def checkpoints() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (job.base / FOLDER).iterdir() if file.name not in PROGRESS}

    before = checkpoints()
    job.set(epochs="3")
    running = watch(job)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (150_000_000, 150_000_000))
    code, _ = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    # The job would go on from the older one, which is whole.
    assert (code, ended.failure) == (0, None), ended.log
    assert "Resuming after epoch 1 of 3" in ended.log
    limit = r"a quota, or the limit on a file's size \(ulimit -f\), is reached"
    needed = r"needs [\d,]+ bytes, and [\d,]+ were free"
    warning = (
        r"The checkpoint of epoch 2 could not be written, so that of epoch 1 stays the newest one until there is room"
    )
    assert re.search(rf"{warning} again: {limit}: the checkpoint in {job.base / FOLDER} {needed}", ended.log)
    assert checkpoints() == before
    assert ended.model_files == MODEL
    mx.model.load_checkpoint(str(job.base / "model" / "model_algo_1"), 0)


def test_a_folder_that_cannot_be_written_is_told_in_the_first_second(make_job: Callable[..., Job]):
    job = make_job("--train", "1", "--validation", "1")
    (job.base / "taken").write_text("a file")
    job.config("checkpointconfig").write_text(json.dumps({"LocalPath": "/opt/ml/taken/checkpoints"}))
    ended = job.run()
    assert ended.code == 1
    assert ended.failure == (
        f"cannot write to {job.base / 'taken' / 'checkpoints'}: Not a directory. The job needs to write its "
        "checkpoints there"
    )
    assert "Checkpoints go to" not in ended.log
