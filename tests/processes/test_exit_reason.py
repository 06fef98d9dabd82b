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


def test_memory_that_was_short_outside_of_an_operator():
    """As MXNet 1.9.1 writes it where a GPU's stream cannot be made, and the C++ runtime on any machine."""
    no_stream = "".join(
        [
            "terminate called after throwing an instance of 'dmlc::Error'\n  what():  [10:00:00] ",
            "../3rdparty/mshadow/mshadow/stream_gpu-inl.h:216: Check failed: e == cudaSuccess CUDA: out of memory\n",
        ]
    )
    error = exit_failure("the training process", -signal.SIGABRT, None, no_stream, REMEDY)
    assert error is not None
    assert error.exit_code == 1
    assert error.sentence.startswith("the training process found too little free memory on the GPU: [10:00:00] ")
    assert "Another process may hold it (nvidia-smi lists them)" in error.sentence
    assert "lower image_shape, or choose an instance type with more GPU memory" in error.sentence
    no_array = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
    error = exit_failure("the training process", -signal.SIGABRT, None, no_array, REMEDY)
    assert error is not None
    assert error.exit_code == 1
    assert error.sentence == (
        "the training process got no memory from the machine: std::bad_alloc: lower image_shape, or choose an instance "
        "type with more memory"
    )


@pytest.mark.parametrize(("returncode", "name"), [(-11, "SIGSEGV"), (-7, "SIGBUS"), (-63, "unknown")])
def test_other_signals_are_named(returncode: int, name: str):
    error = exit_failure("the training process", returncode, None, "", REMEDY)
    assert error is not None
    assert error.exit_code == 3
    assert f"signal {-returncode} ({name})" in error.sentence


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_was_asked_to_end_has_not_crashed(number: signal.Signals):
    error = exit_failure("the training process", -number, None, "", REMEDY)
    assert error is not None
    assert error.exit_code == 2
    assert error.sentence.startswith(f"the training process was ended by signal {int(number)} ({number.name}), which")


def test_the_stacks_of_threads_are_no_reason():
    """As Python's faulthandler writes them, here after what oneDNN says."""
    tail = (
        "could not create a primitive\nFatal Python error: Segmentation fault\n\nCurrent thread 0x00007f84829eeb80 "
        '(most recent call first):\n  File "loop.py", line 82 in step\n\nExtension modules: numpy.linalg (total: 1)\n'
    )
    error = exit_failure("the training process", -signal.SIGSEGV, None, tail, REMEDY)
    assert error is not None
    assert error.sentence.startswith(
        "the training process crashed with signal 11 (SIGSEGV) in native code: could not create a primitive. "
    )


@pytest.mark.parametrize("returncode", [0, 1, 120, 255])
def test_an_end_without_a_word_is_a_bug_whatever_the_code(returncode: int):
    error = exit_failure(
        "the training process", returncode, None, "ImportError: libgomp.so.1: cannot open shared object file\n", REMEDY
    )
    assert error is not None
    assert error.exit_code == 3
    assert f"exit code {returncode}" in error.sentence
    assert "ImportError: libgomp.so.1" in error.sentence
