"""AMX where the machine has it, where Linux refuses it, and where a trial of it dies: always a line, never a crash."""

import subprocess
import sys

import pytest

from sagemaker_ssd import amx

HAS_AMX = amx.cpu_flags() >= {"amx_bf16", "amx_tile"}
# In a process of its own, since a filter of system calls cannot be taken off. arch_prctl with this code fails as on a
# virtual machine that shows the CPU's flags and keeps its registers back.
REFUSED = """
import ctypes, struct
def step(code, yes, no, value):
    return struct.pack("HBBI", code, yes, no, value)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, PERMISSION_DENIED = 0x7FFF0000, 0x00050001
program = b"".join([
    step(LOAD, 0, 0, 0), step(EQUAL, 0, 3, 158),
    step(LOAD, 0, 0, 16), step(EQUAL, 0, 1, 0x1023),
    step(RETURN, 0, 0, PERMISSION_DENIED), step(RETURN, 0, 0, ALLOW),
])
buffer = ctypes.create_string_buffer(program)
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
given = Filter(6, ctypes.addressof(buffer))
assert libc.prctl(22, 2, ctypes.byref(given)) == 0
"""
LOGGING = "import logging, sys; logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stdout)\n"
FIND_OUT = (
    "from sagemaker_ssd import amx\nprint(amx.environment_for_bfloat16(flags=frozenset({'amx_bf16', 'amx_tile'})))\n"
)


def answer(program: str, environment: dict[str, str]) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-P", "-c", LOGGING + program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    import os

    monkeypatch.delenv(amx.ISA_VARIABLE, raising=False)
    return dict(os.environ)


@pytest.mark.skipif(not HAS_AMX, reason="this CPU has no AMX")
def test_where_the_machine_has_it_a_trial_shows_it(environment: dict[str, str]):
    assert answer(FIND_OUT, environment) == [
        "bfloat16 is computed with the CPU's matrix unit, AMX",
        "{'DNNL_MAX_CPU_ISA': 'AVX512_CORE_AMX'}",
    ]


def test_where_linux_refuses_it_a_line_says_so(environment: dict[str, str]):
    assert answer(REFUSED + FIND_OUT, environment) == [
        "This CPU has AMX, but it cannot be used (Linux does not allow it): bfloat16 is computed without it",
        "{}",
    ]


def test_who_set_the_variable_gets_it_taken_back_where_linux_refuses(environment: dict[str, str]):
    program = (
        REFUSED
        + "from sagemaker_ssd import amx; import os\namx.request_permission()\nprint(amx.ISA_VARIABLE in os.environ)"
    )
    assert answer(program, {**environment, amx.ISA_VARIABLE: "avx512_core_amx"}) == [
        "DNNL_MAX_CPU_ISA asks for AMX, which Linux does not allow (Operation not permitted): it is not used",
        "False",
    ]


def test_a_trial_that_dies_is_a_line(environment: dict[str, str]):
    program = "from sagemaker_ssd import amx\namx._TRIAL = 'import os; os.kill(os.getpid(), 4)'\n" + FIND_OUT
    assert answer(program, environment) == [
        "This CPU has AMX, but it cannot be used (a trial of it ended by signal 4, SIGILL): bfloat16 is computed "
        "without it",
        "{}",
    ]


def test_what_the_user_set_decides(environment: dict[str, str]):
    assert answer(FIND_OUT, {**environment, amx.ISA_VARIABLE: "AVX2"}) == [
        "DNNL_MAX_CPU_ISA is set to AVX2, which decides whether bfloat16 is computed with AMX",
        "{}",
    ]


def test_a_cpu_without_it_is_not_tried(environment: dict[str, str]):
    program = "from sagemaker_ssd import amx\nprint(amx.environment_for_bfloat16(flags=frozenset({'avx512_bf16'})))"
    assert answer(program, environment) == ["{}"]
