"""AMX, the matrix unit of Intel's newer CPUs: oneDNN 2.4.4, which is in MXNet, uses it only when it is told to.

It is told so by an environment variable, and does not ask Linux for the permission without which the first
instruction ends the process by SIGILL. Linux gives it for a process and its threads, and takes it back when another
program is started: every process that computes asks for itself. Some virtual machines show the CPU's flags and refuse
all the same. Source: Linux, Documentation/arch/x86/xstate.rst.
"""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sagemaker_ssd.processes.answers import ask

# oneDNN's own. Its value ALL does not include AMX in this version.
ISA_VARIABLE: Final = "DNNL_MAX_CPU_ISA"
_AMX: Final = "AVX512_CORE_AMX"
_FLAGS: Final = frozenset({"amx_bf16", "amx_tile"})
# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) on x86-64.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
_TRIAL: Final = (
    "from sagemaker_ssd import amx\n"
    "amx.request_permission()\n"
    "from sagemaker_ssd.ssd.number_formats import try_bfloat16\n"
    "try_bfloat16()\n"
)
_TRIAL_SECONDS: Final = 120.0
_log = logging.getLogger(__name__)


def request_permission() -> None:
    """Ask Linux for AMX, if oneDNN is told to use it; without permission it is told so no more, and a line says why.

    To be called in the main thread before MXNet is imported, in every process that imports it.
    """
    if os.environ.get(ISA_VARIABLE, "").upper() != _AMX:
        return
    result = ctypes.CDLL(None, use_errno=True).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)
    if result != 0:
        reason = os.strerror(ctypes.get_errno())
        _log.warning("%s asks for AMX, which Linux does not allow (%s): it is not used", ISA_VARIABLE, reason)
        del os.environ[ISA_VARIABLE]


def environment_for_bfloat16(
    *, stopping: Callable[[], bool] = lambda: False, flags: frozenset[str] | None = None
) -> dict[str, str]:
    """Find out whether this machine computes bfloat16 with AMX; return the variables that a process needs for it.

    One convolution is tried in a process of its own, which may die of it. What cannot be used is one line of the log.
    A value that the user has set stays. stopping: ends the trial. flags: of the CPU, this machine's unless given.
    """
    chosen = os.environ.get(ISA_VARIABLE)
    if chosen is not None:
        _log.info("%s is set to %s, which decides whether bfloat16 is computed with AMX", ISA_VARIABLE, chosen)
        return {}
    if not (cpu_flags() if flags is None else flags) >= _FLAGS:
        return {}
    try:
        command = [sys.executable, "-P", "-c", _TRIAL]
        environment = {**os.environ, ISA_VARIABLE: _AMX, "OMP_NUM_THREADS": "1", "MXNET_SUBGRAPH_VERBOSE": "0"}
        answer = ask(command, seconds=_TRIAL_SECONDS, environment=environment, stopping=stopping)
    except TimeoutError:
        reason = f"a trial of it had no end in {_TRIAL_SECONDS:g} seconds"
    else:
        if answer is None:
            return {}
        reason = _refusal(answer.returncode, answer.stderr)
    if not reason:
        _log.info("bfloat16 is computed with the CPU's matrix unit, AMX")
        return {ISA_VARIABLE: _AMX}
    _log.warning("This CPU has AMX, but it cannot be used (%s): bfloat16 is computed without it", reason)
    return {}


def use_for_bfloat16() -> None:
    """Have this process compute bfloat16 with AMX where the machine can; to be called before MXNet is imported."""
    os.environ.update(environment_for_bfloat16())
    request_permission()


def cpu_flags(description: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return what the CPU can, in Linux's names."""
    lines = description.read_text().splitlines()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _refusal(exit_code: int, errors: str) -> str:
    """Return why a trial failed, nothing if it did not."""
    # Without permission the trial goes on without AMX, having said so; on a CPU without bfloat16 it fails then.
    if any("does not allow" in line for line in errors.splitlines()):
        return "Linux does not allow it"
    if exit_code < 0:
        return f"a trial of it ended by signal {-exit_code}, {signal.Signals(-exit_code).name}"
    if exit_code:
        return f"a trial of it failed: {errors.strip().splitlines()[-1] if errors.strip() else exit_code}"
    return ""
