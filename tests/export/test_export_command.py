"""`python -m sagemaker_ssd.export` as a user calls it, on a model in the built-in's form."""

import json
from pathlib import Path

import mxnet as mx
import numpy as np
import onnxruntime
import pytest

from command_runner import run_command
from model_server import write_drawn_model, write_mxnet_ssd_model
from plain_detection import assert_same_detections
from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.scoring.saved_model import load_model
from sagemaker_ssd.ssd.graphs import detection_graph
from sagemaker_ssd.ssd.network import Network, NmsSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "files"
    write_drawn_model(folder, heads=0.0003)
    return folder


@pytest.mark.long
def test_it_writes_a_model_that_detects_as_predict_does(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "all.onnx"
    options = ("--detections", "all-classes", "--class-names", 'cat, "dog, large",bird', "--output", file)
    done = run_command("export", model, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Written: {file}, with detections of all-classes\n"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    facts = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert (facts["detections"], facts["classes"]) == ("all-classes", ["cat", "dog, large", "bird"])
    image = np.random.RandomState(1).uniform(0, 255, (1, 3, 300, 300)).astype(np.float32)
    found, _ = session.run(None, {"image": image})
    loaded = load_model(model, tmp_path, detections="all-classes")
    (expected,) = loaded.detector(1).detect(mx.nd.array(image))
    assert len(expected) > 20
    assert_same_detections(found, expected, 1e-4)


@pytest.mark.long
def test_the_onnx_model_of_one_of_mxnet_ssd_takes_pixels_as_they_are(tmp_path: Path) -> None:
    """Beside the network as it is in the file, on pixels minus its mean."""
    weights = write_mxnet_ssd_model(tmp_path / "model")
    file = tmp_path / "model.onnx"
    done = run_command("export", tmp_path / "model", "--output", file)
    assert done.returncode == 0
    assert "bn_data's mean fitted to pixels of 0-255" in done.stderr
    image = np.random.RandomState(1).uniform(0, 255, (1, 3, 300, 300)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found, _ = session.run(None, {"image": image})
    graph = detection_graph(Network("resnet-50", 300, num_classes=3, nms=NmsSettings(threshold=0.3)))
    detector = Detector(graph, [weights], batch_size=1, image_shape=300)
    (expected,) = detector.detect(mx.nd.array(image - np.reshape([123, 117, 104], (3, 1, 1))))
    assert len(expected) > 20
    assert_same_detections(found, expected, 1e-4)


@pytest.mark.long
def test_names_for_other_classes_are_refused(model: Path, tmp_path: Path) -> None:
    done = run_command("export", model, "--class-names", "cat,dog", "--output", tmp_path / "model.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "--class-names has 2 names, and the model knows 3 classes: name every class by its id, from 0 on\n"
    )
    assert not (tmp_path / "model.onnx").exists()


def test_a_file_that_cannot_be_written_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    """No model is there: else its absence is what is told."""
    folder, document = tmp_path / "folder", tmp_path / "document"
    folder.mkdir()
    document.write_text("something")
    must = "--output must be a file in a folder that can be written to, or one that is not there yet"
    for output, said in (
        (folder, f"{folder}: it is a folder; --output must be a file, such as {folder}/model.onnx"),
        (document / "model.onnx", f"{document}: no files can be made in it (it is a file); {must}"),
        # Root may write into a folder without permissions, but nobody into this one.
        (Path("/proc/model.onnx"), f"/proc: no files can be made in it (No such file or directory); {must}"),
    ):
        done = run_command("export", tmp_path / "no model", "--output", output)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{said}\n")
    done = run_command("export", tmp_path / "no model", "--output", tmp_path / "new" / "model.onnx")
    assert "there is no such file or folder; give a model.tar.gz" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["document", "folder"]
