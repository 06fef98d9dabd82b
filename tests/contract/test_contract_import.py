"""Reading a job is quick and needs nothing heavy."""

import subprocess
import sys

CODE = """
import sys, time
start = time.perf_counter()
from pathlib import Path
from sagemaker_ssd.contract import read_job
job = read_job(Path(sys.argv[1]))
print(time.perf_counter() - start)
print(job.hyperparameters.num_classes)
outside = {"mxnet", "numpy", "gluoncv", "cv2", "PIL", "sagemaker_training", "boto3"}
print(sorted(outside & set(sys.modules)))
print(sorted(name for name in sys.modules if name.startswith("sagemaker_ssd") and ".contract" not in name))
"""


def test_reading_imports_nothing_heavy_and_is_quick(tree):
    base = tree.write()
    runs = []
    for _ in range(3):
        child = subprocess.run([sys.executable, "-c", CODE, str(base)], capture_output=True, text=True, check=True)
        runs.append(child.stdout.splitlines())
    for _, classes, heavy, ours in runs:
        assert classes == "3"
        assert heavy == "[]"
        assert ours == "['sagemaker_ssd', 'sagemaker_ssd.errors']"
    # The quickest of three: another program on the machine must not fail this.
    assert min(float(run[0]) for run in runs) < 0.5


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
