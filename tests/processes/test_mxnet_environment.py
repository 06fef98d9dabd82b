"""How many threads the processes that compute with MXNet have."""

import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.processes.mxnet_environment import mxnet_environment


@pytest.mark.parametrize(
    ("given", "threads"),
    [({}, "6"), ({"OMP_NUM_THREADS": ""}, "6"), ({"OMP_NUM_THREADS": "0"}, "6"), ({"OMP_NUM_THREADS": " 2 "}, "2")],
)
def test_what_is_not_set_is_all_processors(given: dict[str, str], threads: str):
    assert mxnet_environment(given, 6)["OMP_NUM_THREADS"] == threads


def test_what_mxnet_would_end_with_is_refused():
    with pytest.raises(UserError, match=r"OMP_NUM_THREADS is '4,2'; it must be a whole number from 1 to 1024"):
        mxnet_environment({"OMP_NUM_THREADS": "4,2"}, 6)
