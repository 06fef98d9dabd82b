"""Reading a job needs nothing heavy."""

import subprocess
import sys

CODE = """
import sys
from pathlib import Path
from sagemaker_ssd.contract.job import read_job
job = read_job(Path(sys.argv[1]))
print(job.hyperparameters.num_classes)
outside = {"mxnet", "numpy", "gluoncv", "cv2", "PIL", "sagemaker_training", "boto3"}
print(sorted(outside & set(sys.modules)))
print(sorted(name for name in sys.modules if name.startswith("sagemaker_ssd") and ".contract" not in name))
"""


def test_reading_imports_nothing_heavy(tree):
    command = [sys.executable, "-c", CODE, str(tree.write())]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = ["sagemaker_ssd", *(f"sagemaker_ssd.{name}" for name in ("data_formats", "errors", "files"))]
    assert child.stdout.splitlines() == ["3", "[]", str(ours)]


def test_paths(tree):
    paths = tree.read().paths
    base = tree.base
    assert paths.base == base
    assert paths.config == base / "input/config"
    assert paths.hyperparameters == base / "input/config/hyperparameters.json"
    assert paths.input_data_config == base / "input/config/inputdataconfig.json"
    assert paths.resource_config == base / "input/config/resourceconfig.json"
    assert paths.checkpoint_config == base / "input/config/checkpointconfig.json"
    assert paths.data == base / "input/data"
    assert paths.model == base / "model"
    assert paths.output == base / "output"
    assert paths.output_data == base / "output/data"
    assert paths.failure == base / "output/failure"
