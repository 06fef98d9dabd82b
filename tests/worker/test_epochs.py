"""Writing in the background of a training, in real threads, and the memory of a training that is done."""

import gc
import socket
import threading
import time
import weakref
from pathlib import Path

import mxnet as mx
import pytest

from job_runner import draw
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.worker.epochs import BackgroundTask, EpochRunner
from sagemaker_ssd.worker.inputs import agree_on_shares, check_channels

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


def test_a_training_that_is_done_with_is_freed_at_once(tmp_path: Path):
    # What follows it needs the room.
    draw(tmp_path / "ml", "--train", "2", "--validation", "1", "--hyperparameter", "mini_batch_size=1")
    job = read_job(tmp_path / "ml")
    supervisor, worker = socket.socketpair()
    with supervisor:
        group = ProcessGroup(SupervisorSocket(worker.detach()), job.cluster.hosts, job.cluster.current_host, 60)
        network = Network("resnet-50", job.hyperparameters.image_shape, job.hyperparameters.num_classes)
        channels = check_channels(job, tmp_path / "scratch", group)
        shares, _ = agree_on_shares(job, channels.train, group)
        runner = EpochRunner(job, network, channels, shares, [mx.cpu()], group, first_epoch=0, fresh_layers=())
        runner.load(initial_parameters(saved_graph(network), job.hyperparameters.image_shape, seed=0))
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
