"""What check-gpu allows between a card and the CPU, between two implementations of the operators on this CPU."""

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from sagemaker_ssd.check_gpu.checks import GPU_BOUNDS, Bounds, Step, judge_steps

TESTS = Path(__file__).parent.parent
# Of vgg-16, whose step takes several times as long, fewer batches.
BATCHES = {"resnet-50": 3, "vgg-16": 1}
# Early, middle and last layers, extra layers and heads.
LAYERS = {
    "resnet-50": (
        *("conv0_weight", "bn0_gamma", "stage1_unit1_conv1_weight", "stage2_unit1_sc_weight"),
        *("stage3_unit2_conv3_weight", "stage4_unit3_bn2_beta", "multi_feat_2_conv_3x3_conv_weight"),
        *("_plus12_loc_pred_conv_weight", "_plus15_cls_pred_conv_weight"),
        "multi_feat_4_conv_3x3_relu_loc_pred_conv_weight",
    ),
    "vgg-16": (
        *("conv1_1_weight", "conv2_2_bias", "conv4_3_weight", "relu4_3_scale", "fc6_bias", "fc7_weight"),
        *("relu4_3_loc_pred_conv_weight", "relu7_cls_pred_conv_weight", "multi_feat_5_conv_3x3_conv_weight"),
    ),
}
Pair = tuple[list[Step], list[Step]]


@pytest.fixture(scope="module", params=sorted(BATCHES))
def steps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Pair]:
    """A network, and its steps by oneDNN and by MXNet's own kernels."""
    pair = []
    for enabled in ("1", "0"):
        file = tmp_path_factory.mktemp("steps") / "steps.pickle"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
            "MXNET_MKLDNN_ENABLED": enabled,
            "MXNET_STORAGE_FALLBACK_LOG_VERBOSE": "0",
        }
        command = [sys.executable, "-P", "-m", "check_gpu.steps_of_kernels", request.param]
        command += [str(BATCHES[request.param]), str(file)]
        subprocess.run(command, check=True, env=environment, timeout=500)
        pair.append(pickle.loads(file.read_bytes()))
    one, other = pair
    return request.param, (one, other)


def failed(found: Sequence[Step], expected: Sequence[Step], bounds: Bounds = GPU_BOUNDS) -> set[str]:
    return {one.what for one in judge_steps(found, expected, bounds, "here") if one.holds is False}


def scaled(steps: Sequence[Step], name: str, factor: float) -> list[Step]:
    """The same steps, with one gradient multiplied."""
    return [replace(step, gradients={**step.gradients, name: factor * step.gradients[name]}) for step in steps]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_other_kernels_are_within_a_third_of_the_bounds(steps: tuple[str, Pair]):
    _, (found, expected) = steps
    third = {field.name: getattr(GPU_BOUNDS, field.name) / 3 for field in fields(GPU_BOUNDS)}
    for one, other in zip(found, expected, strict=True):
        # Else both were the same program.
        assert any((one.gradients[name] != other.gradients[name]).any() for name in one.gradients)
    assert failed(found, expected, Bounds(**third)) == set()


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("factor", [1.2, 0.8, -1.0])
def test_a_wrong_gradient_of_one_layer_fails(steps: tuple[str, Pair], factor: float):
    network, (found, expected) = steps
    for name in LAYERS[network]:
        count = BATCHES[network]
        assert f"gradient of each parameter, best of {count}" in failed(scaled(found, name, factor), expected), name


def small_step(gradients: Mapping[str, Sequence[float]]) -> Step:
    values = {name: np.array(value, np.float32) for name, value in gradients.items()}
    return Step(np.ones(3), values, {})


def test_a_gradient_that_is_no_number_fails_whichever_batch_it_is_in():
    right, wrong = small_step({"a": [1, 2]}), small_step({"a": [1, float("nan")]})
    for found in ([wrong, right], [right, wrong]):
        assert failed(found, [right, right]) == {
            "gradients together, best of 2",
            "gradient of each parameter, best of 2",
            "gradient of each parameter, worst of 2",
        }


def test_a_wrong_gradient_is_seen_where_only_one_batch_has_it():
    with_it, without = small_step({"a": [1, 2], "b": [1, 0]}), small_step({"a": [1, 2], "b": [0, 0]})
    wrong = small_step({"a": [1, 2], "b": [1.1, 0]})
    assert "gradient of each parameter, best of 2" in failed([wrong, without], [with_it, without])
    # One batch in which another anchor became a negative is no fault.
    assert failed([wrong, with_it], [with_it, with_it]) == set()


def test_what_rounding_leaves_of_larger_gradients_is_no_fault_and_a_tenth_of_all_is_one():
    expected = small_step({"a": [1000, 0], "b": [1e-5, 0]})
    assert failed([small_step({"a": [1000, 0], "b": [2e-5, 0]})], [expected]) == set()
    assert failed([small_step({"a": [1000, 100], "b": [1e-5, 0]})], [expected]) == {
        "gradients together, best of 1",
        "gradient of each parameter, best of 1",
    }
