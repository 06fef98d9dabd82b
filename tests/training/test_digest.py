"""Equal digests mean equal weights."""

import hashlib

import mxnet as mx
import numpy as np

from sagemaker_ssd.training.trainer import digest


def arrays(**named) -> dict[str, mx.nd.NDArray]:
    return {name: mx.nd.array(np.array(value, np.float32)) for name, value in named.items()}


def test_it_is_sha256_over_names_shapes_and_bytes():
    expected = hashlib.sha256(
        b"a (2,)\n" + np.float32([1, 2]).tobytes() + b"b (1, 1)\n" + np.float32([3]).tobytes()
    ).hexdigest()
    assert digest(arrays(a=[1, 2], b=[[3]])) == expected
    assert digest(arrays(b=[[3]], a=[1, 2])) == expected


def test_any_difference_shows():
    others = [
        arrays(a=[1, np.nextafter(np.float32(2), np.float32(3))], b=[[3]]),
        arrays(a=[[1, 2]], b=[[3]]),
        arrays(c=[1, 2], b=[[3]]),
        arrays(a=[1, 2]),
        arrays(a=[1, 2], b=[[3]], c=[4]),
        arrays(a=[2, 1], b=[[3]]),
    ]
    assert len({digest(each) for each in [arrays(a=[1, 2], b=[[3]]), *others]}) == 7
