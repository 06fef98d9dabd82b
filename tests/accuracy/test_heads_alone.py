"""The trial of recipes on features that are computed once."""

import json
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from heads_alone import FEATURES, FROZEN, Features, WithNegatives, without_trunk
from test_bench_accuracy import draw

from sagemaker_ssd.files import sha256
from sagemaker_ssd.ssd.graphs import saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network

FOLDER = Path(__file__).parent
TRUNK = "arg:conv3_1_weight"


@pytest.mark.long
def test_without_the_trunk_the_losses_and_gradients_are_those_of_the_whole_graph():
    network = Network("vgg-16", 300, 2)
    frozen = network.freeze(FROZEN)
    whole = training_graph(network, empty_images=True, frozen=frozen)
    parameters = initial_parameters(saved_graph(network), 300, 0).arguments
    random = np.random.default_rng(0)
    data = random.normal(0, 60, (2, 3, 300, 300))
    label = np.array([[[0, 0.1, 0.2, 0.6, 0.7]], [[-1] * 5]])

    def gradients(graph: mx.sym.Symbol, given: dict) -> tuple[list, dict]:
        arrays = {name: mx.nd.array(value) for name, value in {**given, "label": label}.items()}
        requests = {
            name: "write" if name in parameters and name not in frozen.arguments else "null"
            for name in graph.list_arguments()
        }
        bound = graph.simple_bind(mx.cpu(), grad_req=requests, **{name: array.shape for name, array in arrays.items()})
        bound.copy_params_from({**parameters, **arrays}, allow_extra_params=True)
        outputs = [output.asnumpy() for output in bound.forward(is_train=True)]
        bound.backward()
        return outputs, {name: gradient.asnumpy() for name, gradient in bound.grad_dict.items() if gradient is not None}

    internals = whole.get_internals()
    trunk = mx.sym.Group([internals[f"{name}_output"] for name in FEATURES])
    bound = trunk.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    bound.copy_params_from({**parameters, "data": mx.nd.array(data)}, allow_extra_params=True)
    features = {name: value.asnumpy() for name, value in zip(FEATURES, bound.forward(), strict=True)}
    outputs, expected = gradients(whole, {"data": data})
    found, of_heads = gradients(without_trunk(whole), features)
    assert outputs[2][2] > 30
    for one, other in zip(outputs, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
    assert set(of_heads) == set(expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(
            of_heads[name], gradient, rtol=1e-3, atol=1e-5 * np.abs(gradient).max(), err_msg=name
        )


def test_another_sets_images_are_images_without_objects(tmp_path: Path):
    for name, images in (("own", 3), ("other", 2)):
        (tmp_path / name).mkdir()
        values = np.arange(2 * images).reshape(2, images, 1, 1, 1) + (100 if name == "other" else 0)
        for feature in FEATURES:
            np.save(tmp_path / name / f"{feature}.npy", values.astype(np.float16))
        np.save(tmp_path / name / "labels.npy", np.full((2, images, 4, 6), 7, np.float32))
    both = WithNegatives(Features(tmp_path / "own"), 2, Features(tmp_path / "other"))
    # The third of its own images is left out, so that 2 and 3 are the other's first and second, here in view 1.
    features, labels = both.read(1, np.array([3, 0, 2, 1]))
    assert [features[name][:, 0, 0, 0].tolist() for name in FEATURES] == [[103, 3, 102, 4]] * 2
    assert labels[:, :, 0].tolist() == [[-1] * 4, [7] * 4, [-1] * 4, [7] * 4]


@pytest.mark.long
def test_recipes_are_compared_on_features_computed_once(tmp_path: Path):
    draw(tmp_path / "things", 8)
    convert = [
        sys.executable,
        "-m",
        "sagemaker_ssd.convert",
        "voc",
        "--as",
        "recordio",
        "--validation-fraction",
        "0.25",
    ]
    things = ["--images", tmp_path / "things/JPEGImages", "--annotations", tmp_path / "things/Annotations"]
    channels, work = tmp_path / "channels", tmp_path / "work"
    subprocess.run([*convert, *things, "--output", channels], check=True)
    command = [sys.executable, FOLDER / "heads_alone.py", channels, "--work", work, "--epochs", "2", "--batch", "4"]
    command += ["--seeds", "0", "--recipe", "defaults", "last batch by its images"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "6 images to train on, 0 of them without objects, 2 held out" in printed
    features = json.loads((work / "features.json").read_text())
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith(("| defaults", "| last"))]
    assert [len(row) for row in rows] == [5, 5]
    # The second batch of the first epoch has two images, whose gradients weigh half.
    assert rows[0][4] != rows[1][4]
    # What has been run is not run again.
    file = work / "defaults, batches of 4, 2 epochs, seed 0.json"
    figures = json.loads(file.read_text())
    file.write_text(json.dumps([{**epoch, "voc07": 0.625} for epoch in figures]))
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "features of view" not in again
    assert "| defaults, batches of 4 | 0 | 0.625 | 0.625 |" in again
    # Features of other images would be taken for these.
    (work / "features.json").write_text(json.dumps({**features, "train": "of another set"}))
    refused = subprocess.run(command, stderr=-1, check=False)
    assert b"holds the features of other images or of another trunk: name another folder" in refused.stderr
    (work / "features.json").write_text(json.dumps(features))
    # From the detector that was trained, whose values the first step finds: its losses are lower.
    (tmp_path / "detector").mkdir()
    detector = tmp_path / "detector" / "detector.params"
    file.with_suffix(".params").rename(detector)
    digest = sha256(detector)[:8]
    subprocess.run([*command[:-2], "defaults", "--pretrained", tmp_path / "detector"], check=True)
    named = f"defaults, from detector {digest}, batches of 4, 2 epochs, seed 0.json"
    further = json.loads((work / named).read_text())
    assert further[0]["cross_entropy"] < figures[1]["cross_entropy"] < figures[0]["cross_entropy"]
    # Another trunk has other features.
    arrays = mx.nd.load(str(detector))
    mx.nd.save(str(detector), {**arrays, TRUNK: arrays[TRUNK] + 1e-3})
    refused = subprocess.run([*command, "--pretrained", tmp_path / "detector", "--seeds", "1"], stderr=-1, check=False)
    assert b"conv3_1_weight is not that of the installed weights" in refused.stderr
