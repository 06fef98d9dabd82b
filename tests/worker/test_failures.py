"""Exceptions that a job can meet, and the sentences that they become."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import pytest

from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.errors import FAILURE_REASON_LENGTH, UserError
from sagemaker_ssd.worker.failures import crowded_images_told, diverged, explain

WORKLOAD = "vgg-16, image_shape 512, mini_batch_size 32 on 4 GPU(s)"

# Texts of real failures: MXNet's pooled allocator, cuDNN, cuBLAS, its CPU storage, dmlc-core's file stream.
CASES = [
    (
        "../src/storage/./pooled_storage_manager.h:151: cudaMalloc failed: out of memory",
        1,
        "the GPU ran out of memory",
    ),
    ("cudaMalloc retry failed: out of memory", 1, "the GPU ran out of memory"),
    (
        "Check failed: e == CUDNN_STATUS_SUCCESS: cuDNN: CUDNN_STATUS_ALLOC_FAILED",
        1,
        "the GPU ran out of memory",
    ),
    ("Failed to allocate CPU Memory", 1, "the machine ran out of memory"),
    ("std::bad_alloc", 1, "the machine ran out of memory"),
    ("Check failed: FileStream.Write incomplete", 1, "the disk is full"),
    (
        "Check failed: my_node_.port != -1 (-1 vs. -1) : bind failed",
        2,
        "could not listen on the address of this host",
    ),
    ("Check failed: shape_assign: incompatible", 3, "This is a bug of this program or of MXNet"),
]


@pytest.mark.parametrize(("text", "code", "sentence"), CASES)
def test_mxnet_errors(text: str, code: int, sentence: str):
    error = explain(mx.MXNetError(f"\nTraceback (most recent call last):\n{text}"), WORKLOAD, 16)
    assert error.exit_code == code
    assert sentence in error.sentence


def test_gpu_memory_names_everything_that_decides_it_and_a_batch_to_try():
    error = explain(mx.MXNetError(CASES[0][0]), WORKLOAD, 16)
    for part in ("vgg-16", "image_shape 512", "mini_batch_size 32", "4 GPU(s)", "Set mini_batch_size to 16"):
        assert part in error.sentence


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_file(number: int):
    error = explain(OSError(number, "No space left on device", "model/.staging/x.params"), WORKLOAD, 16)
    assert error.exit_code == 1
    assert "the disk is full while writing model/.staging/x.params" in error.sentence
    assert "VolumeSizeInGB" in error.sentence


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, f"make it and the folders above it readable and writable for user {os.geteuid()}"),
        (errno.EPERM, f"make it readable and writable for user {os.geteuid()}"),
        (errno.EROFS, "mount it writable"),
        (errno.EISDIR, "a file must be there: remove the folder"),
        (errno.ENOTDIR, "a folder must be there: remove the file"),
    ],
)
def test_what_a_person_can_mend_in_a_folder(number: int, remedy: str):
    reason = os.strerror(number)
    error = explain(OSError(number, reason, "output/data/metrics.json"), WORKLOAD, 16)
    assert error.exit_code == 1
    assert error.sentence == f"output/data/metrics.json could not be read or written: {reason}; {remedy}"
    unnamed = explain(OSError(number, reason), WORKLOAD, 16)
    assert unnamed.sentence.startswith("a file or folder of the job could not be read or written: ")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path):
    with pytest.raises(OSError, match="directory") as raised:
        tmp_path.write_text("x")
    error = explain(raised.value, WORKLOAD, 16)
    assert (error.exit_code, str(tmp_path) in error.sentence) == (1, True)


def test_other_failures_of_files_are_the_platforms():
    error = explain(OSError(errno.EIO, "Input/output error", "train.rec"), WORKLOAD, 16)
    assert (error.exit_code, "train.rec" in error.sentence) == (2, True)


def test_a_sentence_that_is_there_is_kept():
    error = UserError("train.rec: record 3 has no label")
    assert explain(error, WORKLOAD, 16) is error


def test_a_real_mxnet_error_is_told_by_its_check():
    with pytest.raises(mx.MXNetError) as raised:
        mx.nd.dot(mx.nd.ones((2, 3)), mx.nd.ones((2, 3))).asnumpy()
    error = explain(raised.value, WORKLOAD, 16)
    assert error.exit_code == 3
    assert error.sentence.startswith("MXNetError: Check failed: L[!Ta].Size()")


CROWDED = """
import os
import resource
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.ssd.loss import matching_bytes
from sagemaker_ssd.worker.failures import crowded_images_told, explain

IMAGES, ANCHORS, OBJECTS = 8, 8732, 500
anchors, label = mx.nd.random.uniform(0, 1, (1, ANCHORS, 4)), mx.nd.zeros((IMAGES, OBJECTS, 5))
scores = mx.nd.random.uniform(0, 1, (IMAGES, 5, ANCHORS))
# Loads what MXNet loads late.
mx.nd.contrib.MultiBoxTarget(anchors, label[:, :1], scores)[0].wait_to_read()
status = Path("/proc/self/status").read_text().splitlines()
held = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
wanted = matching_bytes(IMAGES, ANCHORS, OBJECTS)
resource.setrlimit(resource.RLIMIT_DATA, (held + wanted // 2, resource.RLIM_INFINITY))
try:
    with crowded_images_told(OBJECTS, wanted):
        mx.nd.contrib.MultiBoxTarget(anchors, label, scores)[0].wait_to_read()
except mx.MXNetError as error:
    print(explain(error, "vgg-16, mini_batch_size 8 on CPU", 4).sentence)
resource.setrlimit(resource.RLIMIT_DATA, (held + 2 * wanted, resource.RLIM_INFINITY))
mx.nd.contrib.MultiBoxTarget(anchors, label, scores)[0].wait_to_read()
print("it fits", flush=True)
# As a worker ends: after an allocation that failed MXNet can free its memory twice at the interpreter's end.
os._exit(0)
"""


def test_where_one_crowded_image_takes_the_memory_it_is_told():
    done = subprocess.run([sys.executable, "-P", "-c", CROWDED], capture_output=True, text=True, check=False)
    assert done.stdout == (
        "the machine ran out of memory with vgg-16, mini_batch_size 8 on CPU. Set mini_batch_size to 4, or choose a "
        "smaller image_shape or an instance type with more memory. 1.4 GiB of each device are taken because one image "
        "of the train channel has 500 objects: they grow with that number, so that leaving out such images, or cutting "
        "them into several, helps too\nit fits\n"
    ), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("error", "bytes_of_device"), [(mx.MXNetError(CASES[0][0]), 200 << 20), (mx.MXNetError("axes differ"), 4 << 30)]
)
def test_few_objects_and_other_failures_are_told_as_before(error: mx.MXNetError, bytes_of_device: int):
    before = explain(error, WORKLOAD, 16).sentence
    with pytest.raises(mx.MXNetError) as raised, crowded_images_told(40, bytes_of_device):
        raise error
    assert explain(raised.value, WORKLOAD, 16).sentence == before


def test_anything_else_is_a_bug_with_its_first_line():
    error = explain(ValueError("axes don't match\nsecond line"), WORKLOAD, 16)
    assert error.exit_code == 3
    assert error.sentence.startswith("ValueError: axes don't match. This is a bug")


@pytest.mark.parametrize(
    ("given", "rate", "told"),
    [
        (
            {},
            0.001,
            "; learning rate 0.001|Lower learning_rate (it is 0.001: try 0.0001), or limit the gradients with "
            "clip_gradient (it is not set: try 5), or start slowly with warmup_epochs (it is 0: try 1)",
        ),
        # After two steps of the schedule, and in the first step of a warm-up: the rate is no measure of what to set.
        (
            {"lr_scheduler_step": "10,20", "warmup_epochs": "5", "clip_gradient": "1"},
            1e-5,
            "; learning rate 1e-05|Lower learning_rate (it is 0.001: try 0.0001), or limit the gradients more with "
            "clip_gradient (it is 1: try 0.1), or start more slowly with warmup_epochs (it is 5: try 10)",
        ),
        # Nothing is left of it where it would take longer than the job, and 100 / 10 is more than what is proposed.
        (
            {"warmup_epochs": "20", "clip_gradient": "100", "learning_rate": "0.5"},
            4e-6,
            "; learning rate 4e-06|Lower learning_rate (it is 0.5: try 0.05), or limit the gradients more with "
            "clip_gradient (it is 100: try 5)",
        ),
        (
            {"optimizer": "adadelta", "warmup_epochs": "1"},
            0.001,
            "|Choose another optimizer, such as sgd (adadelta takes no learning_rate), or limit the gradients with "
            "clip_gradient (it is not set: try 5)",
        ),
    ],
)
def test_what_to_do_after_a_divergence_follows_from_the_hyperparameters(given: dict, rate: float, told: str):
    asked = Hyperparameters(num_classes="1", num_training_samples="1", **given)
    fact, advice = told.split("|")
    assert diverged("the loss is not a finite number in epoch 25, batch 0", rate, asked).sentence == (
        f"training diverged: the loss is not a finite number in epoch 25, batch 0 (counted from 0{fact}). The model of "
        f"the best epoch before it, if any, is kept. {advice}"
    )


ANEW = (
    ". For other settings, where there is a checkpoint already, name another folder for checkpoints (on SageMaker "
    "another CheckpointConfig.S3Uri), perhaps with the best model so far as the model channel"
)


@pytest.mark.parametrize(
    "text", ["Failed to allocate CPU Memory", "cudaMalloc retry failed: out of memory", "larger than 2^31 elements"]
)
def test_other_settings_need_another_folder_for_checkpoints(text: str):
    """Else the next start refuses what is proposed."""
    before = explain(mx.MXNetError(text), WORKLOAD, 16).sentence
    assert "Set mini_batch_size to 16" in before
    assert explain(mx.MXNetError(text), WORKLOAD, 16, writes_checkpoints=True).sentence == before + ANEW


def test_where_no_setting_is_proposed_checkpoints_are_not_spoken_of():
    full = OSError(errno.ENOSPC, "No space left on device", "x")
    assert "checkpoint" not in explain(full, WORKLOAD, 16, writes_checkpoints=True).sentence


def test_the_longest_advice_after_a_divergence_fits_the_failure_reason():
    given = {"clip_gradient": "0.123456", "warmup_epochs": "5", "learning_rate": "0.00012345"}
    asked = Hyperparameters(num_classes="1", num_training_samples="1", **given)
    names = ", ".join(["stage4_unit3_conv3_weight"] * 3)
    what = f"values of {names} and 200 more are not finite numbers after epoch 1999"
    told = diverged(what, 1.2345e-05, asked, writes_checkpoints=True).sentence
    assert told == diverged(what, 1.2345e-05, asked).sentence + ANEW
    # Also behind what a stop says.
    assert len(told) + 200 <= FAILURE_REASON_LENGTH
