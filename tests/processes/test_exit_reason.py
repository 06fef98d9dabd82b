"""The sentence for every way in which a child process can end."""

import signal

import pytest

from sagemaker_ssd.processes.exit_reason import exit_failure

REMEDY = "lower image_shape"
ABORT = """[12:00:00] something ordinary
terminate called after throwing an instance of 'dmlc::Error'
  what():  [12:00:01] ../src/io/iter_image_det_recordio.cc:325: Check failed: label_width >= 7: bad label
Stack trace:
  [bt] (0) libmxnet.so(+0x6b8b5) [0x7f]
"""


def test_a_report_of_success_counts_even_when_unloading_crashed():
    assert exit_failure("the training process", -signal.SIGSEGV, {"exit_code": 0, "sentence": ""}, "", REMEDY) is None


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_reported_failure_keeps_its_sentence_and_code(code: int):
    error = exit_failure(
        "the training process", code, {"exit_code": code, "sentence": "train.rec is empty"}, "noise", REMEDY
    )
    assert error is not None
    assert (error.exit_code, error.sentence) == (code, "train.rec is empty")


def test_a_native_abort_is_explained_by_its_last_words():
    error = exit_failure("the training process", -signal.SIGABRT, None, ABORT, REMEDY)
    assert error is not None
    assert error.exit_code == 3
    assert "signal 6 (SIGABRT)" in error.sentence
    assert "Check failed: label_width >= 7: bad label" in error.sentence
    assert "Stack trace" not in error.sentence


@pytest.mark.parametrize(("returncode", "name"), [(-11, "SIGSEGV"), (-7, "SIGBUS"), (-63, "unknown")])
def test_other_signals_are_named(returncode: int, name: str):
    error = exit_failure("the training process", returncode, None, "", REMEDY)
    assert error is not None
    assert error.exit_code == 3
    assert f"signal {-returncode} ({name})" in error.sentence


# MXNet's handler exits, and the exit can abort.
@pytest.mark.parametrize("returncode", [255, -6])
def test_the_signal_that_mxnet_catches_itself(returncode: int):
    error = exit_failure(
        "the training process",
        returncode,
        None,
        "\nSegmentation fault: 11\n\nStack trace:\n  [bt] (0) libmxnet.so\n",
        REMEDY,
    )
    assert error is not None
    assert error.exit_code == 3
    assert "crashed with signal 11 (SIGSEGV) in native code" in error.sentence


@pytest.mark.parametrize("returncode", [0, 1, 120, 255])
def test_an_end_without_a_word_is_a_bug_whatever_the_code(returncode: int):
    error = exit_failure(
        "the training process", returncode, None, "ImportError: libgomp.so.1: cannot open shared object file\n", REMEDY
    )
    assert error is not None
    assert error.exit_code == 3
    assert f"exit code {returncode}" in error.sentence
    assert "ImportError: libgomp.so.1" in error.sentence
