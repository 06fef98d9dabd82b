"""Which network a file is of, and the refusal of a file that is of another."""

import gzip
import json
import pickle
import struct
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from gluoncv import model_zoo

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.export.onnx import write_onnx
from sagemaker_ssd.pretrained.conversion import converted, converted_file
from sagemaker_ssd.pretrained.trunk import trunk_shapes
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network


def names_of(network: str) -> list[str]:
    return list(model_zoo.get_model(network, pretrained=False)._collect_params_with_prefix())


def prefixed_names_of(network: str) -> list[str]:
    return list(model_zoo.get_model(network, pretrained=False).collect_params())


def refused(names: list[str], base_network: str) -> str:
    with pytest.raises(UserError) as caught:
        converted({name: mx.nd.zeros((1,)) for name in names}, base_network, "weights/given.params")
    return caught.value.sentence


@pytest.mark.parametrize(
    ("naming", "network", "base_network"),
    [
        (names_of, "resnet18_v2", "resnet-50"),
        (names_of, "resnet50_v1", "resnet-50"),
        (names_of, "resnet50_v1b", "resnet-50"),
        (names_of, "se_resnet50_v2", "resnet-50"),
        (names_of, "vgg19", "vgg-16"),
        (names_of, "vgg16_bn", "vgg-16"),
        (names_of, "mobilenet1.0", "vgg-16"),
        (names_of, "resnet50_v2", "vgg-16"),
        (names_of, "vgg16", "resnet-50"),
        (prefixed_names_of, "resnet101_v2", "resnet-50"),
        (prefixed_names_of, "resnet50_v1", "resnet-50"),
        (prefixed_names_of, "vgg19", "vgg-16"),
    ],
)
def test_another_network_of_gluoncv_is_refused_by_name(naming, network: str, base_network: str):
    names = naming(network)
    text = refused(names, base_network)
    assert text.startswith(f"weights/given.params: seems to be GluonCV's {network}, not {base_network}. Accepted for ")
    accepted = text.split("Accepted")[1]
    assert ("GluonCV's resnet50_v2" in accepted) == (base_network == "resnet-50")
    assert sorted(names)[0] in text
    assert len(text) < 600


@pytest.mark.parametrize(("held", "wanted"), [("vgg-16", "resnet-50"), ("resnet-50", "vgg-16")])
def test_our_other_trunk_is_refused(held: str, wanted: str):
    shapes = trunk_shapes(held)
    names = [f"arg:{name}" for name in shapes]
    assert refused(names, wanted).startswith(f"weights/given.params: seems to be {held}, not {wanted}. ")
    given = {f"arg:{name}": mx.nd.zeros(shape) for name, shape in shapes.items()}
    assert converted(given, held, "weights/given.params").layout == "this program's names"


def test_an_unknown_layout_is_refused_with_what_is_in_it():
    names = ["layer4.weight", "layer1.weight", "layer2.weight", "layer3.weight", "layer5.bias", "layer5.weight"]
    assert refused(names, "vgg-16") == (
        "weights/given.params: is of an unknown layout. Accepted for base_network vgg-16: a model of this program or of"
        " the built-in algorithm with vgg-16, mxnet-ssd's vgg16_reduced, MXNet's vgg16, GluonCV's vgg16_atrous or"
        " vgg16, its vgg16 in ONNX, torchvision's ssd300_vgg16. First names in the file: layer1.weight, "
        "layer2.weight, layer3.weight, layer4.weight, layer5.bias and 1 more."
    )
    assert refused([], "vgg-16").startswith("weights/given.params: holds no parameters with names. Accepted for ")


def test_a_network_without_one_of_its_parameters_is_still_recognised():
    names = names_of("resnet50_v2")
    names.remove("features.1.weight")
    assert "missing: features.1.weight" in refused(names, "resnet-50")


# Lengths that begin like a pickle, an ONNX file and a gzip file.
@pytest.mark.parametrize("length", [0x80, 0x120308, 0x8B1F])
def test_safetensors_are_called_by_their_name(tmp_path: Path, length: int):
    names = json.dumps({"conv1.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + names.ljust(length) + bytes(4))
    with pytest.raises(UserError) as caught:
        converted_file(path, "resnet-50", "pretrained/model.safetensors", tmp_path)
    assert caught.value.sentence == (
        "pretrained/model.safetensors: it is a safetensors file, such as Hugging Face's; the file must be a .params "
        "file of MXNet, an ONNX file, a state dictionary of PyTorch, by `torch.save(model.state_dict(), "
        "'weights.pth')`, or the model.tar.gz of a job. Accepted for base_network resnet-50: a model of this program "
        "or of the built-in algorithm with resnet-50, MXNet's resnet-50, GluonCV's resnet50_v2, the same in ONNX."
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"no weights at all", "it is of an unknown kind"), (b"\x89HDF\r\n", "it is an HDF5 file, such as Keras writes")],
)
def test_the_accepted_kinds_are_told(tmp_path: Path, content: bytes, text: str):
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        converted_file(path, "vgg-16", "given", tmp_path)
    found, _, accepted = caught.value.sentence.partition("; the file must be a .params file of MXNet, an ONNX file, ")
    assert found == f"given: {text}"
    assert "torchvision's ssd300_vgg16" in accepted


def numpys(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2))


def of_another_job(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("saved_model.pb"))


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (numpys, "it is a zip archive of arrays, such as NumPy writes"),
        (lambda path: path.write_bytes(pickle.dumps(7)), "it is a Python pickle, but not one that torch.save wrote"),
        (
            of_another_job,
            "it holds no .params file, but saved_model.pb: it is not the model of a job of this program or of the "
            "built-in algorithm",
        ),
        (
            lambda path: path.write_bytes(gzip.compress(b"\x89HDF\r\n")),
            "it is a gzip file, and what it holds is not a tar archive",
        ),
    ],
)
def test_archives_that_hold_no_weights_are_told_the_accepted_kinds(
    tmp_path: Path, write: Callable[[Path], object], text: str
):
    path = tmp_path / "weights.bin"
    write(path)
    with pytest.raises(UserError) as caught:
        converted_file(path, "vgg-16", "given", tmp_path)
    found, _, accepted = caught.value.sentence.partition("; the file must be a .params file of MXNet, an ONNX file, ")
    assert found == f"given: {text}"
    assert "torchvision's ssd300_vgg16" in accepted


def test_many_long_names_are_looked_at_in_time():
    """Two thousand of the longest that are allowed took a minute: each was cut at each of its dots."""
    names = [f"{number:05d}{'.' * 995}" for number in range(2000)]
    before = time.process_time()
    assert "is of an unknown layout" in refused(names, "vgg-16")
    assert time.process_time() - before < 20


def test_the_onnx_model_of_a_job_is_told_from_a_classifier(tmp_path: Path):
    """It is what a person has at hand who is told that a channel takes ONNX files."""
    network = Network("resnet-50", 300, 2)
    values = initial_parameters(saved_graph(network), 300, seed=1)
    write_onnx(tmp_path / "model.onnx", network, values.arguments, values.states, ["cat", "dog"])
    with pytest.raises(UserError) as caught:
        converted_file(tmp_path / "model.onnx", "resnet-50", "pretrained/model.onnx", tmp_path)
    assert caught.value.sentence.startswith(
        "pretrained/model.onnx: is the ONNX model of a job of this program, in which the layers are joined: give that "
        "job's model.tar.gz, or the .params file in it. Accepted for base_network resnet-50: "
    )
