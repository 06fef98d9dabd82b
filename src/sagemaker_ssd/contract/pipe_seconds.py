"""How long a job in Pipe mode waits for what the platform feeds."""

import math
from collections.abc import Mapping
from typing import Final

from sagemaker_ssd.contract.findings import Findings, shown

VARIABLE: Final = "SAGEMAKER_SSD_PIPE_SECONDS"
DEFAULT: Final = 600.0


def read_pipe_seconds(environment: Mapping[str, str], findings: Findings) -> float:
    """Read the seconds from the environment; a fault and the default where they are none."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    findings.faults.append(f"environment variable {VARIABLE} is {shown(text)}; it must be a number of seconds above 0")
    return DEFAULT
