"""The folder of an endpoint's model in all its forms, and the model proven by a detection."""

import json
import resource
import tarfile
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from model_server import write_drawn_model, write_overflowing_model
from sagemaker_ssd.contract.model_folder import CONFIGURATION, PARAMETERS, SYMBOL
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.hosting.__main__ import explained
from sagemaker_ssd.hosting.model import find_model, load_detectors

FILES = (SYMBOL, PARAMETERS, CONFIGURATION)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_drawn_model(folder)
    return folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (FILES, PARAMETERS),
        # A folder on top, as `tar -czf model.tar.gz model` packs it, and what macOS adds.
        ([f"model/{name}" for name in FILES] + [f"model/._{PARAMETERS}"], f"model/{PARAMETERS}"),
        # Version 2 of the SDK in local mode.
        ([*FILES, "model.tar.gz", "output.tar.gz", "data/deploy/x.json"], PARAMETERS),
        ([*FILES, "deploy_model_algo_1-0000.params"], PARAMETERS),
        (["a.params", CONFIGURATION], "a.params"),
        # An output.tar.gz unpacked beside the model, as in a job's folder of S3.
        (["model.tar.gz", "deploy/deploy_model_algo_1-0000.params", "deploy/x.json"], "model.tar.gz"),
        (["deploy/deploy_model_algo_1-0000.params"], "deploy/deploy_model_algo_1-0000.params"),
        # S3DataType S3Object leaves the archive packed.
        (["model.tar.gz"], "model.tar.gz"),
    ],
)
def test_the_model_is_found(tmp_path: Path, names: list[str], found: str):
    assert find_model(touch(tmp_path, *names)) == tmp_path / found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "it holds no files; the model.tar.gz of a training job, unpacked by the platform, must be there"),
        (["model.joblib", "code/inference.py"], "it holds no .params file, but 1 .joblib and 1 .py; the model.tar.gz"),
        (
            ["model.pth", "code/inference.py"],
            "it holds no .params file, but 1 .pth and 1 .py; the model.tar.gz of a training job, unpacked by the "
            "platform, must be there; .pth files are weights of another program, from which only a training can start: "
            "put one of them into its channel pretrained",
        ),
        (["a.params", "b.params"], "it holds several models, such as a.params and b.params; pack only one"),
        (["a.tar.gz", "b.tar.gz"], "it holds several models, such as a.tar.gz and b.tar.gz; pack only one"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, names: list[str], said: str):
    with pytest.raises(UserError) as error:
        find_model(touch(tmp_path, *names))
    assert error.value.sentence.startswith(f"{tmp_path}: {said}")


@pytest.mark.long
def test_detections_of_a_group_are_those_of_each_image(files: Path):
    detectors = load_detectors(files, None, 3, ())
    detectors.warm_up()
    assert detectors.seconds > 0
    images = [np.random.RandomState(seed).uniform(0, 255, (3, 300, 300)).astype(np.float32) for seed in (1, 2)]
    together = detectors.detect(images)
    assert together is not None
    for image, rows in zip(images, together, strict=True):
        alone = detectors.detect([image])
        assert alone is not None
        assert len(rows) > 10
        np.testing.assert_allclose(rows[:5], alone[0][:5], atol=1e-4)


@pytest.mark.long
def test_a_packed_model_is_loaded(files: Path, tmp_path: Path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz", compresslevel=0) as archive:
        for name in FILES:
            archive.add(files / name, f"model/{name}")
    assert load_detectors(tmp_path, None, 1, ("a", "b", "c")).model.network.num_classes == 3


@pytest.mark.parametrize("where", ["nowhere", "a file", "full"])
def test_a_packed_model_without_a_folder_to_unpack_it_in_is_told_with_what_to_do(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    folder = tmp_path / "model"
    folder.mkdir()
    with tarfile.open(folder / "model.tar.gz", "w:gz", compresslevel=0) as archive:
        archive.add(files / PARAMETERS, PARAMETERS)
    scratch, reason = tmp_path / "scratch", "No such file or directory"
    if where == "a file":
        scratch.touch()
        reason = "Not a directory"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if where == "full":
        scratch.mkdir()
        reason = "File too large"
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    monkeypatch.setenv("TMPDIR", str(scratch))
    try:
        with pytest.raises(UserError) as error:
            load_detectors(folder, None, 1, ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.sentence == (
        f"{folder / 'model.tar.gz'}: it cannot be unpacked below {scratch} ({reason}). Make room there, name a folder "
        "with room in the environment variable TMPDIR, or start the container with `docker run --tmpfs /tmp`, or give "
        "the model unpacked"
    )


def changed(files: Path, folder: Path, **settings: str | None) -> Path:
    """Link the model with other settings."""
    for name in (SYMBOL, PARAMETERS):
        (folder / name).symlink_to(files / name)
    stored = json.loads((files / CONFIGURATION).read_text()) | settings
    (folder / CONFIGURATION).write_text(
        json.dumps({name: value for name, value in stored.items() if value is not None})
    )
    return folder


def test_names_for_other_classes_are_refused(files: Path):
    with pytest.raises(UserError, match="SAGEMAKER_SSD_CLASS_NAMES has 2 names, and the model knows 3 classes"):
        load_detectors(files, None, 1, ("cat", "dog"))


def test_a_model_that_does_not_tell_its_size_is_refused(files: Path, tmp_path: Path):
    changed(files, tmp_path, image_shape=None)
    with pytest.raises(
        UserError, match=r"hyperparams\.json has no image_shape: put the hyperparams\.json of the training job beside"
    ):
        load_detectors(tmp_path, None, 1, ())


def test_a_model_that_gives_no_numbers_is_refused(files: Path, tmp_path: Path):
    detectors = load_detectors(write_overflowing_model(files, tmp_path), None, 1, ())
    with pytest.raises(UserError, match="predictions are not finite numbers: its training has diverged"):
        detectors.warm_up()


def test_advice_where_memory_is_short() -> None:
    """A GPU has one process whatever the variable says, so that fewer of them are no way out there."""
    gpu, machine = (
        explained(mx.MXNetError(f"Check failed: {text}"), "an image").sentence
        for text in ("e == cudaSuccess: cudaMalloc failed: out of memory", "std::bad_alloc")
    )
    assert gpu == "the GPU ran out of memory with an image: choose an instance type with more GPU memory"
    assert machine == (
        "the machine ran out of memory with an image: choose an instance type with more memory, or fewer processes in "
        "SAGEMAKER_MODEL_SERVER_WORKERS"
    )
