"""The program for onnxruntime of docs/use-the-model.md, word by word."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from sagemaker_ssd.export.onnx import write_onnx
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network

PAGE = Path(__file__).parent.parent.parent / "docs" / "use-the-model.md"


def test_it_prints_names_scores_and_boxes(tmp_path: Path) -> None:
    network = Network("resnet-50", 300, num_classes=2)
    values = initial_parameters(saved_graph(network), 300, seed=1)
    for name, array in values.arguments.items():
        # Of a class that is sure of itself everywhere.
        if name.endswith("cls_pred_conv_bias"):
            array[:] = np.tile([0.0, 0.0, 9.0], array.size // 3)
    write_onnx(tmp_path / "model.onnx", network, values.arguments, values.states, ["cat", "dog"])
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((90, 120, 3), 99, np.uint8))
    (program,) = re.findall(r"```python\n(import json\nimport numpy.*?)```", PAGE.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 20
    # The same photo twice.
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert all(re.fullmatch(r"photo\.jpg dog 0\.99\d* (\S+ ){3}\S+", line) for line in done.stdout.splitlines())
