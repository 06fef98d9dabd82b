"""Keras' VGG-16 in ONNX, under this program's names."""

import re
from collections.abc import Mapping

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.pretrained.trunk import CAFFE_MEAN, fit_pixels
from sagemaker_ssd.ssd.initial_values import Parameters

_CONVOLUTION = re.compile(r"(?:.*/)?block([1-5])_conv([1-3])(?:_1)?/(convolution|Squeeze)\b.*")


def keras_vgg16(initializers: Mapping[str, NDArray[np.float32]]) -> Parameters:
    """Convert the convolutions among an ONNX graph's initializers; others are left out.

    initializers: weights (out, in, 3, 3) and biases (out,) for BGR pixels, 0-255 minus CAFFE_MEAN
    (keras.applications, imagenet_utils, mode "caffe").
    """
    values = {}
    for name, array in initializers.items():
        match = _CONVOLUTION.fullmatch(name)
        if match:
            kind = "weight" if match[3] == "convolution" else "bias"
            values[f"conv{match[1]}_{match[2]}_{kind}"] = mx.nd.array(array)
    # From BGR to RGB.
    values["conv1_1_weight"] = values["conv1_1_weight"].flip(axis=1)
    fit_pixels(values, CAFFE_MEAN)
    return Parameters(dict(sorted(values.items())), {})
