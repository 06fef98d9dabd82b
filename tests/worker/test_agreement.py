"""The sentence for what differs between hosts names each host's own value."""

import json
import socket
from pathlib import Path

import pytest

from job_runner import draw
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.environment import StopBudget
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import ProgramError, UserError
from sagemaker_ssd.worker.agreement import check_devices, check_starting_weights, check_weights
from sagemaker_ssd.worker.stopping import SigtermListener
from sagemaker_ssd.worker.train_job import train_job

HOSTS = ("algo-1", "algo-2")


def host_of_two(name: str, *values: object) -> tuple[ProcessGroup, socket.socket]:
    """Make one of two hosts, whose supervisor has the values of both ready."""
    theirs, ours = socket.socketpair()
    ours.sendall(json.dumps({"gathered": name, "values": values}).encode() + b"\n")
    return ProcessGroup(SupervisorSocket(theirs.detach()), HOSTS, "algo-1", timeout=5), ours


def test_different_devices():
    group, supervisor = host_of_two("the number of devices", 4, 1)
    with supervisor, pytest.raises(UserError, match=r"different numbers of devices: algo-1 4, algo-2 1\. Choose one"):
        check_devices(group, 4)


def test_different_devices_are_told_before_anything_is_read(tmp_path: Path):
    """Weights and channels can take an hour."""
    base, scratch = tmp_path / "ml", tmp_path / "scratch"
    draw(base, "--hyperparameter", "kv_store=dist_sync")
    resources = {"current_host": "algo-1", "hosts": HOSTS}
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(resources))
    job = read_job(base)
    scratch.mkdir()
    # Had it read anything, an exchange of another name would have come first.
    group, supervisor = host_of_two("the number of devices", 1, 4)
    sigterm = SigtermListener(StopBudget(60, first_model=True))
    with supervisor, pytest.raises(UserError, match="different numbers of devices: algo-1 1, algo-2 4"):
        train_job(job, group, scratch=scratch, gpus=0, progress_bar=False, sigterm=sigterm)
    assert list(scratch.iterdir()) == []


def test_different_weights_at_the_start():
    group, supervisor = host_of_two("the weights at the start", "a" * 64, "b" * 64)
    with supervisor, pytest.raises(UserError, match=r"algo-1 aaaaaaaaaaaa, algo-2 bbbbbbbbbbbb\. All hosts need"):
        check_starting_weights(group, lambda: "a" * 64)


def test_the_same_is_fine():
    group, supervisor = host_of_two("the number of devices", 4, 4)
    with supervisor:
        check_devices(group, 4)
    group, supervisor = host_of_two("the weights at the start", "a", "a")
    with supervisor:
        check_starting_weights(group, lambda: "a")
    check_weights(HOSTS, ["a", "a"], 3)


def test_weights_that_drift_apart_are_a_bug():
    with pytest.raises(ProgramError, match="different weights after epoch 3: algo-1 a, algo-2 b"):
        check_weights(HOSTS, ["a", "b"], 3)
