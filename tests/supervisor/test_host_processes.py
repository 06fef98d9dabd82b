"""The sentence for every way in which a process of this host can end that training and its parameter server know of."""

import signal

import pytest

from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.processes.exit_reason import exit_failure
from sagemaker_ssd.supervisor.host_processes import hanging_worker, memory_remedy
from sagemaker_ssd.supervisor.parameter_server import ParameterServer, role_failure

PARAMETER_SERVER = ParameterServer(hosts=2, address="10.0.0.7", scheduler=("10.0.0.4", 9100))


def asked(mini_batch_size: int, images: int = 1000) -> Hyperparameters:
    return Hyperparameters(num_classes=1, num_training_samples=images, mini_batch_size=mini_batch_size)


def test_signal_9_is_memory_with_a_batch_size_to_try():
    error = exit_failure("the training process", -signal.SIGKILL, None, "", memory_remedy(asked(32)))
    assert error is not None
    assert error.exit_code == 2
    assert "killed by signal 9" in error.sentence
    assert "lower mini_batch_size (now 32; try 16)" in error.sentence


def test_other_settings_need_another_folder_for_checkpoints():
    """Else the next start refuses what is proposed."""
    remedy = memory_remedy(asked(32), writes_checkpoints=True)
    error = exit_failure("the training process", -signal.SIGKILL, None, "", remedy)
    assert error is not None
    assert error.sentence.endswith(
        ": lower mini_batch_size (now 32; try 16) or image_shape and, where there is a checkpoint already, name "
        "another folder for checkpoints (on SageMaker another CheckpointConfig.S3Uri), or choose an instance type "
        "with more memory"
    )


def test_half_of_what_a_step_takes_is_proposed_where_there_are_fewer_images_than_a_batch():
    """Half of the hyperparameter would be the same step again."""
    assert memory_remedy(asked(512, images=100)) == "lower mini_batch_size (now 512; try 50) or image_shape"


@pytest.mark.parametrize(("mini_batch_size", "images"), [(1, 1000), (32, 1)])
def test_a_batch_of_one_is_not_halved_to_nothing(mini_batch_size: int, images: int):
    remedy = memory_remedy(asked(mini_batch_size, images))
    error = exit_failure("the training process", -signal.SIGKILL, None, "", remedy)
    assert error is not None
    assert "out of memory: lower image_shape, or" in error.sentence


def test_a_worker_that_hangs_is_told_with_what_can_be_done():
    expired = "nothing for 600 seconds after the start of MXNet's parameter server"
    first = f"the training process on this host made no progress: {expired}. "
    sentences = [
        hanging_worker(expired, "SAGEMAKER_SSD_HOSTS_SECONDS", several=True).sentence,
        hanging_worker(expired, None, several=True).sentence,
        hanging_worker(expired, None, several=False).sentence,
    ]
    assert all(sentence.startswith(first) for sentence in sentences)
    assert "allow all TCP ports between the hosts" in sentences[0]
    assert sentences[0].endswith("raise SAGEMAKER_SSD_HOSTS_SECONDS")
    assert "another host" in sentences[1]
    assert "another host" not in sentences[2]
    assert all(sentence.endswith("raise SAGEMAKER_SSD_PROGRESS_SECONDS") for sentence in sentences[1:])


def test_a_server_without_its_network_is_no_bug():
    tail = "mxnet.base.MXNetError: Check failed: my_node_.port != -1 (-1 vs. -1) : bind failed\n"
    error = role_failure("server", 1, tail, PARAMETER_SERVER, memory_remedy(asked(8)))
    assert error.exit_code == 2
    assert error.sentence.startswith("the parameter server could not listen on 10.0.0.7, the address of this host")


def test_a_server_that_is_killed_is_named():
    error = role_failure("scheduler", -signal.SIGKILL, "", PARAMETER_SERVER, memory_remedy(asked(8)))
    assert error.exit_code == 2
    assert error.sentence.startswith("the parameter server's scheduler was killed by signal 9 (SIGKILL)")
