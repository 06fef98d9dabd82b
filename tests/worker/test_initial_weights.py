"""Where a job with use_pretrained_model begins: installed weights, a channel's file, or a sentence."""

import hashlib
import json
import logging
import tarfile
from pathlib import Path

import mxnet as mx
import pytest

from sagemaker_ssd.artifacts.model_files import write_model
from sagemaker_ssd.contract.environment import WEIGHTS_VARIABLE
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.contract.weights import StoredWeights
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.trunk import trunk_shapes
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.worker.initial_weights import from_installed_weights, from_pretrained_channel, initial_weights

STARTING = Parameters({"conv1_1_weight": mx.nd.zeros((2, 3)), "conv1_2_weight": mx.nd.zeros((2,))}, {})
AGAIN = "Install the weights again (python -m sagemaker_ssd.weights fetch vgg-16), or build the image again"


def installed(folder: Path, **arrays: mx.nd.NDArray) -> StoredWeights:
    path = folder / "vgg-16.params"
    mx.nd.save(str(path), {f"arg:{name}": array for name, array in arrays.items()})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return StoredWeights(path, {"source": "keras", "checksum": "sha256:00", "sha256": digest})


def fault(weights: StoredWeights) -> str:
    with pytest.raises(UserError) as caught:
        from_installed_weights(weights, STARTING)
    return caught.value.sentence


def test_installed_weights_are_taken_and_named(tmp_path: Path):
    found, start = from_installed_weights(installed(tmp_path, conv1_1_weight=mx.nd.ones((2, 3))), STARTING)
    assert found.arguments["conv1_1_weight"].sum().asscalar() == 6
    assert start == {
        "from": "pretrained",
        "source": "keras",
        "checksum": "sha256:00",
        "layers_starting_anew": ["conv1_2"],
    }


def test_damaged_weights_name_the_network_to_fetch(tmp_path: Path):
    weights = installed(tmp_path, conv1_1_weight=mx.nd.ones((2, 3)))
    weights.parameters.write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    assert fault(weights) == (
        f"{weights.parameters} is damaged: its sha256 is {digest}, not {weights.facts['sha256']}. {AGAIN}"
    )


def test_weights_that_cannot_be_read(tmp_path: Path):
    weights = StoredWeights(tmp_path / "vgg-16.params", {"sha256": "00"})
    weights.parameters.mkdir()
    assert fault(weights) == f"{weights.parameters} is damaged: it cannot be read (Is a directory). {AGAIN}"


def test_weights_of_which_nothing_fits(tmp_path: Path):
    weights = installed(tmp_path, conv0_weight=mx.nd.ones((2, 3)), conv1_2_weight=mx.nd.ones((3,)))
    assert fault(weights) == f"{weights.parameters} is damaged: it holds nothing that fits vgg-16. {AGAIN}"


def test_a_channels_file_is_named_by_its_digest(tmp_path: Path):
    values = {name: mx.nd.zeros(shape) for name, shape in trunk_shapes("resnet-50").items()}
    path = tmp_path / "own.params"
    mx.nd.save(str(path), values)
    _, start = from_pretrained_channel(tmp_path, Parameters(values, {}), "resnet-50", tmp_path)
    assert start["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (start["from"], start["file"], "checksum" in start) == ("pretrained channel", "own.params", False)


@pytest.mark.parametrize("without", [False, True])
def test_heads_for_as_many_classes_are_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without: bool
):
    """And start anew from a file without them, as the warning and docs/starting-weights.md say how to make it."""
    caplog.set_level(logging.WARNING)
    graph = saved_graph(Network("resnet-50", 300, 2))
    values, drawn = (initial_parameters(graph, 300, seed) for seed in (1, 2))
    channel, scratch = tmp_path / "pretrained", tmp_path / "scratch"
    channel.mkdir()
    scratch.mkdir()
    write_model(channel, graph, values, {"image_shape": "300"})
    if without:
        arrays = mx.nd.load(str(channel / PARAMETERS))
        left = {name: array for name, array in arrays.items() if "cls_pred_conv" not in name}
        mx.nd.save(str(channel / PARAMETERS), left)
    found, start = from_pretrained_channel(channel, drawn, "resnet-50", scratch)
    assert caplog.messages == (
        []
        if without
        else [
            f"{PARAMETERS} has heads for as many classes as this job, and they are taken too: its classes must be this "
            "job's in the same order. Where they are others, save it without its arrays that have cls_pred_conv in "
            "their names: then these heads start anew"
        ]
    )
    assert bool(start["layers_starting_anew"]) == without
    for name, array in found.arguments.items():
        source = drawn if without and "cls_pred_conv" in name else values
        assert (array == source.arguments[name]).asnumpy().all(), name


@pytest.mark.parametrize("form", ["model.tar.gz", PARAMETERS])
def test_a_model_gives_its_trunk_to_one_with_one_more_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str
):
    """As the channel `model` refuses it, and says."""
    earlier, now = Network("resnet-50", 300, 2), Network("resnet-50", 300, 3)
    values = initial_parameters(saved_graph(earlier), 300, seed=1)
    drawn = initial_parameters(saved_graph(now), 300, seed=2)
    files, channel, scratch = tmp_path / "files", tmp_path / "pretrained", tmp_path / "scratch"
    for folder in (files, channel, scratch):
        folder.mkdir()
    write_model(files, saved_graph(earlier), values, {"image_shape": "300"})
    if form == "model.tar.gz":
        with tarfile.open(channel / form, "w:gz") as archive:
            for file in files.iterdir():
                archive.add(file, file.name)
        # SageMaker has it beside the model.
        (channel / "output.tar.gz").write_bytes(b"x")
    else:
        (files / PARAMETERS).rename(channel / PARAMETERS)
    found, start = from_pretrained_channel(channel, drawn, "resnet-50", scratch)
    assert start["file"] == form
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    heads = start["layers_starting_anew"]
    assert heads
    assert all("cls_pred_conv" in name for name in heads)
    for name, array in found.arguments.items():
        source = drawn if "cls_pred_conv" in name else values
        assert (array == source.arguments[name]).asnumpy().all(), name
    assert list(scratch.iterdir()) == []


def test_a_job_whose_checkpoint_is_of_no_use_asks_for_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "none"))
    channel = {"ContentType": "application/x-recordio"}
    contents = {
        "hyperparameters": {"num_classes": "1", "num_training_samples": "1", "base_network": "resnet-50"},
        "inputdataconfig": {"train": channel, "validation": channel},
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"]},
    }
    for name, content in contents.items():
        path = tmp_path / "input" / "config" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    for name in ("train", "validation"):
        path = tmp_path / "input" / "data" / name / "x.rec"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "sagemaker-ssd-0000.json").write_text("{")
    job = read_job(tmp_path)
    with pytest.raises(UserError) as caught:
        initial_weights(job, saved_graph(Network("resnet-50", 300, 1)), tmp_path)
    assert caught.value.sentence.startswith(
        "hyperparameters.json: use_pretrained_model is 1, but no ImageNet weights for resnet-50 are installed in "
        f"{tmp_path / 'none'}: build the image"
    )
