"""Jobs that ask for bfloat16: a measurement decides, the decision outlives an interruption, and no CPU is too old."""

import json
import re
from pathlib import Path

import pytest

from job_runner import Job, draw
from sagemaker_ssd.amx import ISA_VARIABLE

pytestmark = pytest.mark.long
MEASURED = re.compile(r"typical convolutions take algo-1: \d+ ms in bfloat16 and \d+ ms in float32")
SLOWER = re.compile(r"algo-1 has a CPU on which that is no faster \(convolutions take \d+ ms in bfloat16 and \d+ ms in")


def drawn(folder: Path, **environment: str) -> Job:
    job = Job(folder / "opt_ml", folder / "tmp", environment)
    job.temporary.mkdir(parents=True)
    draw(job.base, "--train", "2", "--validation", "2")
    job.config("checkpointconfig").write_text(json.dumps({"LocalPath": "/opt/ml/kept"}))
    job.set(mini_batch_size="2", num_training_samples="2", epochs="1", precision_dtype="bfloat16")
    return job


def test_a_measurement_decides_and_a_resumed_job_keeps_to_it(tmp_path: Path):
    job = drawn(tmp_path)
    first = job.run()
    assert first.code == 0, first.log
    manifest = json.loads((job.base / "kept" / "sagemaker-ssd-0000.json").read_text())
    decided = manifest["precision_dtype"]
    if "MXNet has no bfloat16" not in first.log:
        assert (MEASURED if decided == "bfloat16" else SLOWER).search(first.log), first.log
    job.set(epochs="2")
    second = job.run()
    assert second.code == 0, second.log
    kept = {"bfloat16": "trained in bfloat16, as this job began", "float32": "as was found to be best when this job"}
    assert kept[decided] in second.log
    assert not MEASURED.search(second.log)
    manifest = json.loads((job.base / "kept" / "sagemaker-ssd-0001.json").read_text())
    assert manifest["precision_dtype"] == decided


def test_a_cpu_without_avx512_trains_in_float32(tmp_path: Path):
    # oneDNN does as on such a CPU.
    ended = drawn(tmp_path, **{ISA_VARIABLE: "AVX2"}).run()
    assert ended.code == 0, ended.log
    assert "DNNL_MAX_CPU_ISA is set to AVX2" in ended.log
    assert (
        "precision_dtype is bfloat16, but algo-1 has a CPU without AVX512, on which MXNet has no bfloat16: training in "
        "float32" in ended.log
    )
