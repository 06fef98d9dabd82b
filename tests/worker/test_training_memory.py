"""What a training leaves in memory: nothing, for what follows it needs the room."""

import gc
import socket
import weakref
from pathlib import Path

import mxnet as mx

from job_runner import draw
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.worker.epochs import Training
from sagemaker_ssd.worker.inputs import agree_on_shares, check_channels


def test_a_training_that_is_done_with_is_freed_at_once(tmp_path: Path):
    draw(tmp_path / "ml", "--train", "2", "--validation", "1", "--hyperparameter", "mini_batch_size=1")
    job = read_job(tmp_path / "ml")
    supervisor, worker = socket.socketpair()
    with supervisor:
        peers = ProcessGroup(SupervisorSocket(worker.detach()), job.cluster.hosts, job.cluster.current_host, 60)
        network = Network("resnet-50", job.hyperparameters.image_shape, job.hyperparameters.num_classes)
        channels = check_channels(job, tmp_path / "scratch", peers)
        shares, _ = agree_on_shares(job, channels.train, peers)
        training = Training(job, network, channels, shares, [mx.cpu()], tmp_path / "scratch", peers, begin=0)
        training.load(initial_parameters(saved_graph(network), job.hyperparameters.image_shape, seed=0))
        assert training.train(0, progress_bar=False, each_batch=lambda: None).images == 2
        training.evaluate(0)
        left = weakref.ref(training)
        # Without the collector, which comes when it likes.
        gc.disable()
        try:
            del training
            assert left() is None
        finally:
            gc.enable()
