"""What the machine has, as sagemaker-training sees it."""

import os
import subprocess
import sys
from pathlib import Path

from sagemaker_ssd.errors import PlatformError
from sagemaker_ssd.launch.gpu import hanging_driver

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
            # A signal to the supervisor's group is the supervisor's to answer.
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise hanging_driver(_DEADLINE_SECONDS) from error
    if answer.returncode != 0:
        reason = answer.stderr.strip()[-300:] or f"exit code {answer.returncode}"
        raise PlatformError(f"could not ask sagemaker-training for the GPUs: {reason}")
    return int(answer.stdout.split()[-1])
