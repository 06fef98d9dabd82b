"""The environment of child processes that compute with MXNet."""

from collections.abc import Mapping

from sagemaker_ssd.contract.environment import THREADS_VARIABLE, read_threads


def mxnet_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the environment for a child process that computes with MXNet on `threads` processors.

    The number of OpenMP threads is set, since results on a CPU depend on it; cuDNN is not tried out for minutes at
    the start; fusion, which compiles to PTX that older drivers refuse, is off; MXNet does not announce each graph; a
    value that the user has set stays. Raises UserError for a number of threads that MXNet does not take.
    """
    defaults = {
        "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
        "MXNET_CUDNN_LIB_CHECKING": "0",
        "MXNET_SUBGRAPH_VERBOSE": "0",
        "MXNET_USE_FUSION": "0",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **environment, THREADS_VARIABLE: str(read_threads(environment) or threads)}
