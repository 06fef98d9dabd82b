"""`python -m sagemaker_ssd.export` as a user calls it, on a model in the built-in's form."""

import json
from pathlib import Path

import mxnet as mx
import numpy as np
import onnxruntime
import pytest

from command_runner import run_command
from model_server import write_drawn_model
from plain_detection import assert_same_detections
from sagemaker_ssd.scoring.saved_model import load_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "files"
    write_drawn_model(folder, heads=0.0003)
    return folder


@pytest.mark.long
def test_it_writes_a_model_that_detects_as_predict_does(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "all.onnx"
    options = ("--detections", "all-classes", "--class-names", "cat, dog,bird", "--output", file)
    done = run_command("export", model, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Written: {file}, with detections of all-classes\n"
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    facts = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert (facts["detections"], facts["classes"]) == ("all-classes", ["cat", "dog", "bird"])
    image = np.random.RandomState(1).uniform(0, 255, (1, 3, 300, 300)).astype(np.float32)
    found, _ = session.run(None, {"image": image})
    loaded = load_model(model, tmp_path, detections="all-classes")
    (expected,) = loaded.detector(1).detect(mx.nd.array(image))
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
