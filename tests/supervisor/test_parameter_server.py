"""The environments of the parameter server's roles, as ps-lite reads them."""

import pytest

from sagemaker_ssd.supervisor.parameter_server import ParameterServer, role_environment

PLACE = ParameterServer(hosts=3, address="10.0.1.7", scheduler=("10.0.1.4", 9100))
COMMON = {
    "DMLC_NUM_WORKER": "3",
    "DMLC_NUM_SERVER": "3",
    "DMLC_PS_ROOT_URI": "10.0.1.4",
    "DMLC_PS_ROOT_PORT": "9100",
    "DMLC_NODE_HOST": "10.0.1.7",
}


def test_a_worker_keeps_its_gpus_and_its_threads():
    given = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "8"}
    assert role_environment(given, "worker", PLACE) == {**given, **COMMON, "DMLC_ROLE": "worker"}


@pytest.mark.parametrize("role", ["scheduler", "server"])
def test_who_serves_has_no_gpu_and_one_thread(role):
    assert role_environment({"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "8"}, role, PLACE) == {
        "PATH": "/bin",
        **COMMON,
        "DMLC_ROLE": role,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "MXNET_KVSTORE_REDUCTION_NTHREADS": "1",
    }


@pytest.mark.parametrize("role", ["scheduler", "server", "worker"])
def test_nothing_stray_reaches_ps_lite(role):
    # SageMaker sets DMLC_INTERFACE itself; PORT is common in containers, and ps-lite would listen on it.
    stray = {"DMLC_INTERFACE": "ethwe", "DMLC_RANK": "1", "DMLC_PS_VAN_TYPE": "p3", "DMLC_LOCAL": "1", "PORT": "8080"}
    made = role_environment({**stray, "PORTAL": "x"}, role, PLACE)
    assert stray.keys() & made.keys() == set()
    assert made["PORTAL"] == "x"
