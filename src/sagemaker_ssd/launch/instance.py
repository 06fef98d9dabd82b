"""What the machine has, as sagemaker-training sees it."""

import os
import subprocess
import sys
from pathlib import Path

from sagemaker_ssd.errors import PlatformError

_ASK = "from sagemaker_training.environment import num_gpus; print(num_gpus())"
_DEADLINE_SECONDS = 120


def gpus(scratch: Path) -> int:
    """Count the machine's GPUs.

    Asked in a child process: importing sagemaker_training takes part of a second, makes a folder `code` below its
    base directory (here `scratch`, so that a read-only one does not matter), and runs nvidia-smi without a deadline.
    Raises PlatformError when there is no answer in time.
    """
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(scratch)}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _ASK],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformError(
            f"nvidia-smi gave no answer in {_DEADLINE_SECONDS} seconds, so the GPU or its driver hangs: start the job "
            "again on another instance"
        ) from error
    if answer.returncode != 0:
        raise PlatformError(f"could not ask sagemaker-training for the GPUs: {answer.stderr.strip()[-300:]}")
    return int(answer.stdout.split()[-1])
