"""The environment variables of this program, and the time budgets that several of its parts share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sagemaker_ssd.errors import UserError, problems, shown

# Seconds until all hosts of a job must have met, `Deadlines.hosts`.
HOSTS_VARIABLE: Final = "SAGEMAKER_SSD_HOSTS_SECONDS"
# Seconds after which a host that is not heard from is lost, `Deadlines.silence`.
SILENCE_VARIABLE: Final = "SAGEMAKER_SSD_SILENCE_SECONDS"
# Seconds that a training process, or the check of a job's files, may go without progress, `Deadlines.progress`.
PROGRESS_VARIABLE: Final = "SAGEMAKER_SSD_PROGRESS_SECONDS"
# The port on which the first host waits for the others: jobs that share a machine need one each.
PORT_VARIABLE: Final = "SAGEMAKER_SSD_PORT"
DEFAULT_PORT: Final = 9099
_PORTS: Final = range(1024, 65_536)
# Seconds that a job in Pipe mode waits for the next byte of a stream that the platform feeds.
PIPE_VARIABLE: Final = "SAGEMAKER_SSD_PIPE_SECONDS"
DEFAULT_PIPE_SECONDS: Final = 600.0
# The folder of the installed weights, where it is not the Python environment's own.
WEIGHTS_VARIABLE: Final = "SAGEMAKER_SSD_WEIGHTS"
# Of several installed sources of weights the one that a job starts from: SOURCE, or NETWORK=SOURCE ... as WEIGHTS has.
WEIGHTS_SOURCE_VARIABLE: Final = "SAGEMAKER_SSD_WEIGHTS_SOURCE"
# What models detect in where they are used: float32, or bfloat16 on CPUs.
DETECTION_DTYPE_VARIABLE: Final = "SAGEMAKER_SSD_DETECTION_DTYPE"
_DTYPES: Final = ("float32", "bfloat16")
# How many threads MXNet computes with. OpenMP takes a list too, one number for each level of nested regions, but MXNet
# ends the process with anything but one number.
THREADS_VARIABLE: Final = "OMP_NUM_THREADS"
_THREADS: Final = range(1, 1025)
# Which classes of an anchor become detections where models are used: the one with the highest score, as in the saved
# graph and in every figure of a job, or all of them.
BEST_CLASS: Final = "best-class"
ALL_CLASSES: Final = "all-classes"
DETECTIONS: Final = (BEST_CLASS, ALL_CLASSES)

# What SageMaker sets where it runs a job itself. The local modes of its SDK, versions 2 and 3, set TRAINING_JOB_NAME
# alone.
_ARN_VARIABLE: Final = "TRAINING_JOB_ARN"
JOB_NAME_VARIABLE: Final = "TRAINING_JOB_NAME"
# From the request to stop until the supervisor kills the worker. SageMaker kills the container after 120 seconds,
# `docker stop` and local mode after 10; what is left is for the kill and for the hosts to agree how the job ended.
_STOP_SECONDS: Final = 8.0
_STOP_SECONDS_ON_SAGEMAKER: Final = 100.0
# Of these, what the worker leaves of its time, so that it ends by itself before it is killed.
_MARGIN_SECONDS: Final = 1.0
# From the end of the worker's time until all hosts have to agree.
_AGREEMENT_SECONDS: Final = 4.0
# For what the first host does after the training; the other hosts, whose part is done, wait as long for its end.
FINALIZE_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Deadlines:
    """How long the hosts of a job wait for one another, in seconds.

    hosts: until all hosts have met. silence: a host that is not heard from for so long is lost. progress: a training
    process without progress. stop: from a host's stop to the job's end. late: how long a host that failed before all
    have met tries to tell the others.
    """

    hosts: float = 600
    silence: float = 20
    progress: float = 1800
    stop: float = _STOP_SECONDS + _AGREEMENT_SECONDS
    late: float = 20

    @property
    def beat(self) -> float:
        """The time from one sign of life to the next."""
        return max(0.02, min(1.0, self.silence / 5))

    @property
    def report(self) -> float:
        """The time from one log line about missing hosts to the next."""
        return min(30.0, self.hosts / 3)


@dataclass(frozen=True)
class StopBudget:
    """How long a stop may take, in seconds from the request on.

    worker: until the training process is killed. saving: until it ends by itself, whatever is not saved by then.
    first_model: whether that is enough to wait for a first model; in a few seconds it would be a matter of luck.
    """

    worker: float
    first_model: bool

    @property
    def saving(self) -> float:
        """The time in which the training process may still save a model."""
        return self.worker - _MARGIN_SECONDS


def stop_budget(environment: Mapping[str, str]) -> StopBudget:
    """Return the time for a stop: SageMaker itself gives more than `docker stop` and local mode."""
    is_there = on_sagemaker(environment)
    return StopBudget(_STOP_SECONDS_ON_SAGEMAKER if is_there else _STOP_SECONDS, first_model=is_there)


def on_sagemaker(environment: Mapping[str, str]) -> bool:
    """Say whether SageMaker itself runs the job, which its SDK's local mode does not."""
    return environment.get(_ARN_VARIABLE, "").startswith("arn:")


def read_deadlines(environment: Mapping[str, str]) -> Deadlines:
    """Read the deadlines that the environment sets; raises UserError with all faults."""
    faults: list[str] = []
    deadlines = Deadlines(
        hosts=_seconds(environment, HOSTS_VARIABLE, Deadlines.hosts, faults),
        silence=_seconds(environment, SILENCE_VARIABLE, Deadlines.silence, faults),
        progress=_seconds(environment, PROGRESS_VARIABLE, Deadlines.progress, faults),
        stop=stop_budget(environment).worker + _AGREEMENT_SECONDS,
    )
    if faults:
        raise UserError(problems(faults))
    return deadlines


def read_port(environment: Mapping[str, str]) -> int:
    """Read the port on which the first host waits for the others; raises UserError."""
    port = read_whole_number(environment, PORT_VARIABLE, _PORTS)
    return DEFAULT_PORT if port is None else port


def read_threads(environment: Mapping[str, str]) -> int | None:
    """Read the number of threads to compute with, None where it is empty or 0, which is not set; raises UserError."""
    if environment.get(THREADS_VARIABLE, "").strip() == "0":
        return None
    besides = ", or 0 for as many threads as there are processors"
    return read_whole_number(environment, THREADS_VARIABLE, _THREADS, besides)


def read_whole_number(environment: Mapping[str, str], variable: str, allowed: range, besides: str = "") -> int | None:
    """Read a whole number, None where the variable is empty; besides: what else it may be. Raises UserError."""
    text = environment.get(variable, "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) in allowed:
        return int(text)
    raise UserError(
        f"environment variable {variable} is {shown(text)}; it must be a whole number from {allowed[0]} to "
        f"{allowed[-1]}{besides}"
    )


def read_pipe_seconds(environment: Mapping[str, str], faults: list[str]) -> float:
    """Read how long to wait for a stream; a fault and the default where the variable is no time."""
    return _seconds(environment, PIPE_VARIABLE, DEFAULT_PIPE_SECONDS, faults)


def _seconds(environment: Mapping[str, str], variable: str, default: float, faults: list[str]) -> float:
    text = environment.get(variable, "").strip()
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    faults.append(f"environment variable {variable} is {shown(text)}; it must be a number of seconds above 0")
    return default


def detection_dtype(environment: Mapping[str, str]) -> str:
    """Return the number format in which models detect; raises UserError when the variable names another."""
    given = environment.get(DETECTION_DTYPE_VARIABLE, "").strip().lower() or _DTYPES[0]
    if given not in _DTYPES:
        raise UserError(f"{DETECTION_DTYPE_VARIABLE} is {shown(given)}: it must be float32 or bfloat16")
    return given
