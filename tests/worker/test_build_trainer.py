"""Which devices a job trains on; this MXNet knows CPUs alone."""

import logging

import mxnet as mx
import pytest

from sagemaker_ssd.worker.build_trainer import training_devices


def test_without_gpus_on_the_cpu():
    assert training_devices(0, 32) == [mx.cpu()]


def test_the_cpu_build_on_a_gpu_machine_says_so(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert training_devices(4, 32) == [mx.cpu()]
    assert "the machine has 4 GPU(s), but this is the CPU image" in caplog.text
