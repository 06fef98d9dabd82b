"""Deadlines and the port come from the environment."""

import pytest

from sagemaker_ssd.contract.environment import Deadlines, StopBudget, read_deadlines, read_port, stop_budget
from sagemaker_ssd.errors import UserError


def test_defaults():
    assert read_deadlines({}) == Deadlines(600, 20, 1800)
    assert read_deadlines({"SAGEMAKER_SSD_HOSTS_SECONDS": ""}) == Deadlines()
    assert read_port({}) == read_port({"SAGEMAKER_SSD_PORT": " "}) == 9099


def test_each_can_be_set():
    environment = {
        "SAGEMAKER_SSD_HOSTS_SECONDS": "60",
        "SAGEMAKER_SSD_SILENCE_SECONDS": "2.5",
        "SAGEMAKER_SSD_PROGRESS_SECONDS": "1e3",
    }
    assert read_deadlines(environment) == Deadlines(60, 2.5, 1000)


ARN = "arn:aws:sagemaker:eu-west-1:111122223333:training-job/cards"


def test_sagemaker_gives_more_time_for_a_stop_than_docker_and_local_mode():
    on_sagemaker = {"TRAINING_JOB_NAME": "cards", "TRAINING_JOB_ARN": ARN}
    assert stop_budget(on_sagemaker) == StopBudget(100, first_model=True)
    # Whatever else is waited for, SageMaker kills after 120 seconds, `docker stop` after 10.
    assert read_deadlines(on_sagemaker).stop + 8 < 120
    # The SDK's local modes set the job's name.
    for elsewhere in ({}, {"TRAINING_JOB_NAME": "cards"}, {"TRAINING_JOB_ARN": ""}):
        assert stop_budget(elsewhere) == StopBudget(8, first_model=False)
        assert read_deadlines(elsewhere).stop == Deadlines().stop == 12


def test_all_faults_at_once():
    environment = {
        "SAGEMAKER_SSD_HOSTS_SECONDS": "0",
        "SAGEMAKER_SSD_SILENCE_SECONDS": "long",
        "SAGEMAKER_SSD_PROGRESS_SECONDS": "5",
    }
    with pytest.raises(UserError) as caught:
        read_deadlines(environment)
    assert caught.value.sentence == (
        "2 problems:\n"
        "- environment variable SAGEMAKER_SSD_HOSTS_SECONDS is '0'; it must be a number of seconds above 0\n"
        "- environment variable SAGEMAKER_SSD_SILENCE_SECONDS is 'long'; it must be a number of seconds above 0"
    )


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e999", "20 s", "0x10"])
def test_what_is_no_time(text: str):
    with pytest.raises(
        UserError, match=r"SAGEMAKER_SSD_SILENCE_SECONDS is '.*'; it must be a number of seconds above 0"
    ):
        read_deadlines({"SAGEMAKER_SSD_SILENCE_SECONDS": text})


@pytest.mark.parametrize("text", ["1023", "65536", "-9099", "9099.0", "port", "9" * 5000, "٩٠٩٩"])
def test_what_is_no_port(text: str):
    with pytest.raises(UserError, match=r"SAGEMAKER_SSD_PORT is '.*'; it must be a whole number from 1024 to 65535"):
        read_port({"SAGEMAKER_SSD_PORT": text})


@pytest.mark.parametrize("port", [1024, 9099, 65535])
def test_ports(port: int):
    assert read_port({"SAGEMAKER_SSD_PORT": str(port)}) == port


def test_signs_of_life_come_often_enough():
    assert Deadlines().beat == 1
    assert Deadlines(silence=2).beat == 0.4
