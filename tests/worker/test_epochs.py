"""Writing in the background of a training, in real threads, and the memory of a training that is done."""

import gc
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from job_runner import draw
from sagemaker_ssd.batches.shares import Shares, sharded_shares
from sagemaker_ssd.checkpoints.format import CheckpointArrays, Manifest, parameters_name, write_parameters
from sagemaker_ssd.checkpoints.resume import Checkpoint
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.environment import StopBudget
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.contract.model_folder import model_state
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.loop import EpochLosses
from sagemaker_ssd.training.state import History
from sagemaker_ssd.worker.epochs import BackgroundTask, EpochRecorder, EpochRunner
from sagemaker_ssd.worker.inputs import agree_on_shares, check_channels
from sagemaker_ssd.worker.metrics import Metrics
from sagemaker_ssd.worker.progress_page import ProgressPage
from sagemaker_ssd.worker.stopping import SigtermListener
from sagemaker_ssd.worker.tensorboard import TensorBoard

PATIENCE = 10


def failing() -> None:
    raise OSError(28, "No space left on device")


def test_work_goes_on_while_the_caller_does_other_things():
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        done.set()

    background = BackgroundTask()
    background.begin(work)
    assert begun.wait(PATIENCE)
    # Not at its end: nothing is waited for.
    background.check()
    assert not done.is_set()
    go_on.set()
    background.wait()
    assert done.is_set()


def test_what_it_raises_is_raised_once_where_somebody_looks():
    background = BackgroundTask()
    background.begin(failing)

    def look() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            background.check()

    with pytest.raises(OSError, match="No space left"):
        look()
    background.check()
    background.wait()


def test_the_next_work_waits_for_the_one_before_and_tells_its_failure():
    order = []
    background = BackgroundTask()
    background.begin(lambda: (time.sleep(0.1), order.append(1))[-1])
    background.begin(lambda: order.append(2))
    background.wait()
    assert order == [1, 2]
    background.begin(failing)
    with pytest.raises(OSError, match="No space left"):
        background.begin(lambda: order.append(3))
    assert order == [1, 2]


@contextmanager
def prepared(folder: Path, *options: str, first_epoch: int = 0, shares: Shares | None = None) -> Iterator[EpochRunner]:
    """Give the runner of a drawn job of two images, with batches of one; shares: the job's own when not given."""
    draw(folder / "ml", "--train", "2", "--validation", "1", "--hyperparameter", "mini_batch_size=1", *options)
    job = read_job(folder / "ml")
    supervisor, worker = socket.socketpair()
    with supervisor:
        group = ProcessGroup(SupervisorSocket(worker.detach()), job.cluster.hosts, job.cluster.current_host, 60)
        asked = job.hyperparameters
        network = Network(asked.base_network, asked.image_shape, asked.num_classes)
        channels = check_channels(job, folder / "scratch", group)
        agreed, _ = agree_on_shares(job, channels.train, group)
        start = {"from": "scratch", "seed": 0}
        yield EpochRunner(
            *(job, network, channels, shares or agreed, [mx.cpu()], group), first_epoch=first_epoch, start=start
        )


def test_hosts_with_parts_of_their_own_see_other_views(tmp_path: Path):
    """Two hosts whose parts hold the same two pictures: a step of both is not one picture twice."""
    views = []
    for host in (0, 1):
        shares = sharded_shares([2, 2], host=host, batch_size=1)
        with prepared(tmp_path / f"host{host}", shares=shares) as runner:
            views.append({batch.data.asnumpy().tobytes() for batch in runner._loader.batches(0)})
    assert [len(of_host) for of_host in views] == [2, 2]
    assert views[0].isdisjoint(views[1])


def test_a_training_that_is_done_with_is_freed_at_once(tmp_path: Path):
    # What follows it needs the room.
    with prepared(tmp_path) as runner:
        runner.load(initial_parameters(saved_graph(runner._network), 300, seed=0))
        assert runner.train(0, progress_bar=False, each_batch=lambda: None).images == 2
        runner.evaluate(0)
        left = weakref.ref(runner)
        # Without the collector, which comes when it likes.
        gc.disable()
        try:
            del runner
            assert left() is None
        finally:
            gc.enable()


@pytest.mark.parametrize(
    ("network", "name", "value"),
    [("vgg-16", "conv1_1_weight", np.nan), ("resnet-50", "stage1_unit1_bn1_moving_var", np.inf)],
)
def test_a_network_that_is_not_finite_is_not_saved_whatever_it_detects(
    tmp_path: Path, network: str, name: str, value: float
):
    """On a CPU its predictions can be finite all the same: ReLU makes 0 of NaN."""
    with prepared(tmp_path, "--hyperparameter", f"base_network={network}") as runner:
        values = initial_parameters(saved_graph(runner._network), 300, seed=0)
        {**values.arguments, **values.states}[name][:] = value
        runner.load(values)
        job, sigterm, writing = runner._job, SigtermListener(StopBudget(60, first_model=True)), BackgroundTask()
        recorder = EpochRecorder(
            job,
            runner,
            History(),
            Metrics(job, {"from": "scratch", "seed": 0}, {}),
            None,
            ProgressPage(job.paths.report, None, ["circle"]),
            TensorBoard(job.paths.tensorboard, ["circle"], 0.5),
            sigterm,
        )
        # A stop in the first epoch, on SageMaker.
        sigterm.model_is_wanted = True
        told = rf"training diverged: values of {name} are not finite numbers in epoch 0 \(counted from 0; "
        with pytest.raises(UserError, match=told):
            recorder.after_batch()
        sigterm.model_is_wanted = False
        losses = EpochLosses(cross_entropy=1.0, smooth_l1=1.0, batches=2, images=2, seconds=1.0, anchors=8)
        # There may be processors on which the predictions show it.
        told = f"training diverged: (values of {name}|the network's predictions) are not finite numbers after epoch 0 "
        with pytest.raises(UserError, match=told):
            recorder.record(0, losses, writing)
        writing.wait()
        assert model_state(job.paths.model) is None
        assert not job.paths.metrics.exists()


def test_one_host_counts_on_from_the_updates_that_servers_made(tmp_path: Path):
    """By that count the rate of layers that began anew climbs; of the servers' optimizer no checkpoint has anything."""
    with prepared(tmp_path, "--hyperparameter", "epochs=4", first_epoch=2) as runner:
        values = initial_parameters(saved_graph(runner._network), 300, seed=0)
        facts = write_parameters(tmp_path, 1, CheckpointArrays(values.arguments, values.states, {}))
        manifest = Manifest(
            program="0.2.0",
            epoch=1,
            hyperparameters={"kv_store": "dist_async"},
            start={"from": "scratch", "seed": 0},
            data={},
            training_images=2,
            updates=0,
            scores=[0.0, 0.0],
            lowest_loss=1.0,
            best_epoch=1,
            parameters=parameters_name(1),
            best_parameters=parameters_name(1),
            files={parameters_name(1): facts},
            epochs=[{}, {}],
        )
        runner.resume(Checkpoint(tmp_path, manifest))
        # Two epochs of two batches, and then a third one.
        assert runner.trainer.state().optimizer.updates == 4
        runner.train(2, progress_bar=False, each_batch=lambda: None)
        assert runner.trainer.state().optimizer.updates == 6
