"""Jobs in surroundings that forbid what an ordinary container allows."""

from collections.abc import Callable
from pathlib import Path

from container_runner import Engine, docker
from ended_job import MODEL

READ_ONLY = ("--read-only", "--tmpfs", "/tmp", "--network", "none", "--shm-size", "64m")


def read_only_input(base: Path) -> tuple[str, str]:
    return "--volume", f"{base / 'input'}:/opt/ml/input:ro"


def test_read_only_root_and_input_without_network_and_little_shared_memory(
    engine: Engine, make_job: Callable[..., Path]
):
    base = make_job(epochs="2")
    ended = engine.run(base, "train", options=(*READ_ONLY, *read_only_input(base)))
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    assert len(ended.metrics["epochs"]) == 2


def test_any_user_who_can_write_the_results(engine: Engine, make_job: Callable[..., Path]):
    base = make_job("--content", "recordio", epochs="1")
    for folder in ("model", "output"):
        (base / folder).chmod(0o777)
    options = ("--user", "12345:12345", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", *READ_ONLY)
    ended = engine.run(base, "train", options=(*options, *read_only_input(base)))
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    assert {path.stat().st_uid for path in (base / "model").iterdir()} == {12345}
    for word in ("ermission", "not a writable", "HOME"):
        assert word not in ended.log


def test_a_user_who_cannot_write_the_model_is_told(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    (base / "output").chmod(0o777)
    ended = engine.run(base, "train", options=("--user", "12345:12345"))
    assert ended.code == 1, ended.log
    assert "cannot write to /opt/ml/model: Permission denied" in (ended.failure or "")


def test_a_read_only_root_without_scratch_names_the_remedy(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    ended = engine.run(base, "train", options=("--read-only",))
    assert ended.code == 1, ended.log
    assert "start the container with `docker run --tmpfs /tmp`" in (ended.failure or "")
    predict = ("-m", "sagemaker_ssd.predict", "/opt/ml/model", "/opt/ml/photo.jpg")
    ended = engine.run(base, *predict, options=("--read-only", "--entrypoint", "python"))
    assert ended.code == 1, ended.log
    assert "No usable temporary directory" in ended.log
    assert "start the container with `docker run --tmpfs /tmp`" in ended.log


def test_too_little_scratch_is_the_disk_that_is_full(engine: Engine, make_job: Callable[..., Path]):
    options = ("--read-only", "--tmpfs", "/tmp:size=16k")
    ended = engine.run(make_job(epochs="1"), "train", options=options)
    assert ended.code == 1, ended.log
    assert "full" in (ended.failure or "")


def test_too_little_memory_is_explained(engine: Engine, make_job: Callable[..., Path]):
    ended = engine.run(make_job(epochs="1"), "train", options=("--memory", "350m", "--memory-swap", "350m"))
    assert ended.code == 2, ended.log
    assert "killed by signal 9" in (ended.failure or "")
    assert "lower mini_batch_size (now 2; try 1)" in (ended.failure or "")


def test_a_limit_on_processor_time_is_known(engine: Engine):
    code = "from sagemaker_ssd.cores import usable_cores; print(usable_cores())"
    assert docker("run", "--rm", "--cpus", "1", "--entrypoint", "python", engine.image, "-c", code).split() == ["1"]
