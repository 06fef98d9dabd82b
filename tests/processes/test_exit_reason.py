"""The sentence for every way in which a worker can end."""

import signal

import pytest

from sagemaker_ssd.processes.exit_reason import failure, serving_failure

ABORT = """[12:00:00] something ordinary
terminate called after throwing an instance of 'dmlc::Error'
  what():  [12:00:01] ../src/io/iter_image_det_recordio.cc:325: Check failed: label_width >= 7: bad label
Stack trace:
  [bt] (0) libmxnet.so(+0x6b8b5) [0x7f]
"""


def test_a_report_of_success_counts_even_when_unloading_crashed():
    assert failure(-signal.SIGSEGV, {"exit_code": 0, "sentence": ""}, "", 32) is None


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_reported_failure_keeps_its_sentence_and_code(code: int):
    error = failure(code, {"exit_code": code, "sentence": "train.rec is empty"}, "noise", 32)
    assert error is not None
    assert (error.exit_code, error.sentence) == (code, "train.rec is empty")


def test_signal_9_is_memory_with_a_batch_size_to_try():
    error = failure(-signal.SIGKILL, None, "", 32)
    assert error is not None
    assert error.exit_code == 2
    assert "killed by signal 9" in error.sentence
    assert "lower mini_batch_size (now 32; try 16)" in error.sentence


def test_a_batch_of_one_is_not_halved_to_nothing():
    error = failure(-signal.SIGKILL, None, "", 1)
    assert error is not None
    assert "out of memory: lower image_shape, or" in error.sentence


def test_a_native_abort_is_explained_by_its_last_words():
    error = failure(-signal.SIGABRT, None, ABORT, 32)
    assert error is not None
    assert error.exit_code == 3
    assert "signal 6 (SIGABRT)" in error.sentence
    assert "Check failed: label_width >= 7: bad label" in error.sentence
    assert "Stack trace" not in error.sentence


@pytest.mark.parametrize(("returncode", "name"), [(-11, "SIGSEGV"), (-7, "SIGBUS"), (-63, "unknown")])
def test_other_signals_are_named(returncode: int, name: str):
    error = failure(returncode, None, "", 32)
    assert error is not None
    assert error.exit_code == 3
    assert f"signal {-returncode} ({name})" in error.sentence


def test_the_signal_that_mxnet_catches_itself():
    error = failure(255, None, "\nSegmentation fault: 11\n\nStack trace:\n  [bt] (0) libmxnet.so\n", 32)
    assert error is not None
    assert error.exit_code == 3
    assert "crashed with signal 11 (SIGSEGV) in native code" in error.sentence


@pytest.mark.parametrize("returncode", [0, 1, 120, 255])
def test_an_end_without_a_word_is_a_bug_whatever_the_code(returncode: int):
    error = failure(returncode, None, "ImportError: libgomp.so.1: cannot open shared object file\n", 32)
    assert error is not None
    assert error.exit_code == 3
    assert f"exit code {returncode}" in error.sentence
    assert "ImportError: libgomp.so.1" in error.sentence


def test_a_server_without_its_network_is_no_bug():
    tail = "mxnet.base.MXNetError: Check failed: my_node_.port != -1 (-1 vs. -1) : bind failed\n"
    error = serving_failure("the parameter server", 1, tail, "10.0.0.7", 8)
    assert error.exit_code == 2
    assert error.sentence.startswith("the parameter server could not listen on 10.0.0.7, the address of this host")


def test_a_server_that_is_killed_is_named():
    error = serving_failure("the parameter server's scheduler", -signal.SIGKILL, "", "10.0.0.7", 8)
    assert error.exit_code == 2
    assert error.sentence.startswith("the parameter server's scheduler was killed by signal 9 (SIGKILL)")
