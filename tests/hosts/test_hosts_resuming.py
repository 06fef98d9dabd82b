"""Jobs on several hosts that are interrupted: they go on from the checkpoint that all hosts have."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable

import pytest

from cluster_runner import Hosts, own_shard
from process_tree import descendants

pytestmark = pytest.mark.long
PARAMETERS = "model/model_algo_1-0000.params"


def share_checkpoints(hosts: Hosts) -> None:
    """Give all hosts the same folder for checkpoints, as SageMaker does by way of S3."""
    folder = hosts[0].job.base / "checkpoints"
    folder.mkdir()
    for host in hosts.hosts[1:]:
        (host.job.base / "checkpoints").symlink_to(folder)


def kill_all(hosts: Hosts) -> None:
    for host in hosts.hosts:
        assert host.process is not None
        for process in reversed([host.process.pid, *descendants(host.process.pid)]):
            # Its parent's end, or its own work's, may have ended it already.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        host.process.wait()


def test_two_hosts_go_on_bit_for_bit(make_hosts: Callable[..., Hosts]):
    straight, killed = make_hosts(2, overlap_threshold="0.1"), make_hosts(2, overlap_threshold="0.1")
    for hosts in (straight, killed):
        share_checkpoints(hosts)
    assert [end.code for end in straight.run()] == [0, 0]
    killed.start()
    killed[0].until("Checkpoint of epoch 0:")
    kill_all(killed)
    before = killed[0].weights()
    # As in new containers, where only the checkpoints are there again.
    shutil.rmtree(killed[0].job.base / "model")
    ended = killed.run()
    assert [end.code for end in ended] == [0, 0], ended[0].log + ended[1].log
    for end in ended:
        assert "Resuming after epoch 0 of 2" in end.log
    assert killed[0].weights() == killed[1].weights()
    assert [*before[:1], *killed[1].weights()] == straight[0].weights()
    models = [(hosts[0].job.base / PARAMETERS).read_bytes() for hosts in (straight, killed)]
    assert models[0] == models[1]
    assert [epoch["epoch"] for epoch in ended[0].metrics["epochs"]] == [0, 1]

    # At its end there is nothing left to do for anyone; and a host without the others' checkpoint is told.
    assert ["Nothing is left to train" in end.log for end in killed.run()] == [True, True]
    (killed[1].job.base / "checkpoints").unlink()
    (killed[1].job.base / "checkpoints").mkdir()
    for end in killed.run():
        assert end.code == 1
        assert end.failure is not None
        assert "the hosts have different checkpoints: 127.0.0.1 epoch 1 (" in end.failure
        assert "127.0.0.2 none" in end.failure


def test_servers_keep_no_momentum_and_this_is_told(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, kv_store="dist_async", epochs="9")
    share_checkpoints(hosts)
    hosts.start()
    hosts[0].until("Checkpoint of epoch 0:")
    kill_all(hosts)
    hosts.set(epochs="2")
    ended = hosts.run()
    assert [end.code for end in ended] == [0, 0], ended[0].log + ended[1].log
    for end in ended:
        assert "With dist_async what the optimizer remembers, such as sgd's momentum, is on the servers" in end.log
    assert hosts[0].weights() == hosts[1].weights()
    assert len(hosts[0].weights()) == 1


def test_sharded_hosts_train_on_what_each_was_given(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(
        2, "--train", "7", "--validation", "2", mini_batch_size="2", epochs="1", num_training_samples="7"
    )
    for host, kept in ((hosts[0], slice(0, 5)), (hosts[1], slice(5, 7))):
        own_shard(host, kept)
    first, second = hosts.run()
    assert (first.code, second.code) == (0, 0), first.log + second.log
    assert "7 images on 2 hosts: an epoch has 3 steps of up to 4 images, 2 of this host's 5" in first.log
    assert "this host has no images for the last 2 of the 3 steps" in second.log
    assert "num_training_samples is" not in first.log
    assert hosts[0].weights() == hosts[1].weights()
    assert first.metrics["epochs"][0]["train"]["images"] == 7
