"""How long the hosts of a job wait for one another, and on which port they meet.

How long a job in Pipe mode waits for what the platform feeds.

How long the first host may take for what follows the training; the others, whose part is done, wait as long.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sagemaker_ssd.contract.config_file import ConfigFindings
from sagemaker_ssd.errors import UserError, problems, shown

HOSTS_VARIABLE: Final = "SAGEMAKER_SSD_HOSTS_SECONDS"
SILENCE_VARIABLE: Final = "SAGEMAKER_SSD_SILENCE_SECONDS"
PROGRESS_VARIABLE: Final = "SAGEMAKER_SSD_PROGRESS_SECONDS"
PORT_VARIABLE: Final = "SAGEMAKER_SSD_PORT"
_VARIABLES: Final = {"hosts": HOSTS_VARIABLE, "silence": SILENCE_VARIABLE, "progress": PROGRESS_VARIABLE}
DEFAULT_PORT: Final = 9099
_PORTS: Final = range(1024, 65_536)


@dataclass(frozen=True)
class Deadlines:
    """Seconds.

    hosts: until all hosts have met. silence: a host that is not heard from for so long is lost. progress: a training
    process without progress. stop: from a host's stop to the job's end. late: how long a host that failed before all
    have met tries to tell the others.
    """

    hosts: float = 600
    silence: float = 20
    progress: float = 1800
    stop: float = 12
    late: float = 20

    @property
    def beat(self) -> float:
        """The time from one sign of life to the next."""
        return max(0.02, min(1.0, self.silence / 5))

    @property
    def report(self) -> float:
        """The time from one log line about missing hosts to the next."""
        return min(30.0, self.hosts / 3)


def read_deadlines(environment: Mapping[str, str]) -> Deadlines:
    """Read the deadlines that the environment sets; raises UserError with all faults."""
    given = {field: text for field, name in _VARIABLES.items() if (text := environment.get(name, "").strip())}
    faults = [
        f"environment variable {_VARIABLES[field]} is {shown(text)}; it must be a number of seconds above 0"
        for field, text in given.items()
        if not _is_time(text)
    ]
    if faults:
        raise UserError(problems(faults))
    return Deadlines(**{field: float(text) for field, text in given.items()})


def read_port(environment: Mapping[str, str]) -> int:
    """Read the port on which the first host waits for the others; raises UserError."""
    text = environment.get(PORT_VARIABLE, "").strip()
    if not text:
        return DEFAULT_PORT
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) in _PORTS:
        return int(text)
    raise UserError(
        f"environment variable {PORT_VARIABLE} is {shown(text)}; it must be a whole number from {_PORTS[0]} to "
        f"{_PORTS[-1]}"
    )


def _is_time(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


PIPE_VARIABLE: Final = "SAGEMAKER_SSD_PIPE_SECONDS"
DEFAULT_PIPE_SECONDS: Final = 600.0


def read_pipe_seconds(environment: Mapping[str, str], findings: ConfigFindings) -> float:
    """Read the seconds from the environment; a fault and the default where they are none."""
    text = environment.get(PIPE_VARIABLE, "").strip()
    if not text:
        return DEFAULT_PIPE_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    findings.faults.append(
        f"environment variable {PIPE_VARIABLE} is {shown(text)}; it must be a number of seconds above 0"
    )
    return DEFAULT_PIPE_SECONDS


CLOSING_SECONDS: Final = 3600.0
