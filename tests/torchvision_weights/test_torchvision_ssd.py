"""torchvision's own ssd300_vgg16 with random values, in an environment of its own: our network computes the same."""

import subprocess
from pathlib import Path

import pytest

from sagemaker_ssd.artifacts.torch_file import read_torch_file
from sagemaker_ssd.pretrained.conversion import converted_file
from sagemaker_ssd.weights.check import compare

PYTHON = Path(__file__).parents[2] / ".venv-torchvision" / "bin" / "python"
# Biases and scales like a trained network's; state dictionaries in both of torch's formats.
WRITE = """
import sys
import torch
from torchvision.models.detection import ssd300_vgg16
torch.manual_seed(3)
model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=int(sys.argv[2]))
with torch.no_grad():
    for name, values in model.named_parameters():
        if name.endswith("scale_weight"):
            values.uniform_(5, 30)
        elif values.ndim == 1:
            values.normal_(0, 0.1)
        elif values.ndim == 4:
            torch.nn.init.kaiming_normal_(values, nonlinearity="relu")
torch.save(model.state_dict(), sys.argv[1], _use_new_zipfile_serialization=sys.argv[3] == "zip")
print(*model.state_dict(), sep="\\n")
"""


@pytest.mark.parametrize(("classes", "form"), [(91, "zip"), (91, "old"), (4, "zip")])
def test_the_same_maps_and_offsets(tmp_path: Path, classes: int, form: str, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "ssd.pth"
    command = [str(PYTHON), "-c", WRITE, str(file), str(classes), form]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert list(read_torch_file(file, "ssd.pth")) == names
    found = converted_file(file, "vgg-16", "ssd.pth", tmp_path)
    taken = len(found.parameters.arguments)
    assert (taken, taken + len(found.left_out)) == (59, len(names))
    assert all("classification_head" in name for name in found.left_out)
    assert compare(file, "vgg-16", None, str(PYTHON), tmp_path) == 0
    printed = capsys.readouterr().out
    print(printed)
    # Every map that a head reads, and the offsets of 8,732 anchors.
    assert printed.count("largest difference") == 7
    assert "shape (1, 512, 38, 38)" in printed
    assert "shape (1, 8732, 4)" in printed
