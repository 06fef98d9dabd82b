"""buildspec.yml: its shell parses, its checks come before its pushes, its password stays hidden."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from codebuild import PASSWORD, PHASES, REGISTRY, ROOT, SPEC, Build

MAKEFILE = (ROOT / "Makefile").read_text()
COMMANDS = [(phase, command) for phase in PHASES for command in SPEC["phases"][phase]["commands"]]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Build:
    build = Build(tmp_path_factory.mktemp("build")).run()
    assert build.failed_in is None, build.log
    return build


def version() -> str:
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_shell_of_every_command_parses():
    assert (SPEC["version"], SPEC["env"]["shell"]) == (0.2, "bash")
    for phase, command in COMMANDS:
        done = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True)
        assert done.returncode == 0, f"{phase}: {command}\n{done.stderr}"


def test_every_phase_ends_the_build_when_it_fails():
    assert all(SPEC["phases"][phase]["on-failure"] == "ABORT" for phase in PHASES)


def test_a_build_makes_every_check_then_pushes_both_images(good: Build):
    targets = [call.split()[1] for call in good.calls if call.startswith("make ")]
    assert targets == ["setup", "lint", "test", "test-long", "test-container", "test-image-gpu"]
    assert all(f"\n{target}:" in MAKEFILE for target in targets)
    tags = [f"{tag}-{kind}" for kind in ("cpu", "gpu") for tag in (version(), "0123456789ab")]
    assert good.pushed == tags
    pairs = [call.split()[2:] for call in good.calls if call.startswith("docker tag")]
    assert pairs == [[f"sagemaker-ssd:{tag[-3:]}", f"{REGISTRY}/sagemaker-ssd:{tag}"] for tag in tags]
    last_check = max(number for number, call in enumerate(good.calls) if call.startswith("make "))
    assert all("push" not in call for call in good.calls[:last_check])


@pytest.mark.parametrize(
    ("target", "image", "kind"), [("container", "image", "cpu"), ("image-gpu", "image-gpu", "gpu")]
)
def test_the_makefile_passes_on_what_the_build_gives_it(good: Build, target: str, image: str, kind: str):
    assert re.search(rf"^test-{target}:.* {image}$", MAKEFILE, re.MULTILINE)
    call = next(call for call in good.calls if call.startswith(f"make test-{target} "))
    given = re.fullmatch(r"make \S+ (REVISION=\S+) (BUILD_OPTIONS=.*)", call)
    assert given
    # Without the variables that a make around this test hands to every make below it.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    dry = ["make", "--dry-run", image, *given.groups()]
    shown = subprocess.check_output(dry, cwd=ROOT, text=True, env=surroundings)
    cache = f"type=registry,ref={REGISTRY}/sagemaker-ssd:cache-{kind}"
    for part in (
        f"--tag sagemaker-ssd:{kind} ",
        "--build-arg REVISION=0123456789ab ",
        f"--build-arg BASE={SPEC['env']['variables']['BASE_IMAGE']} ",
        f"--cache-from {cache} ",
        f"--cache-to {cache},mode=max,image-manifest=true,oci-mediatypes=true",
        "--load ",
    ):
        assert part in shown


@pytest.mark.parametrize("heeds_abort", [True, False], ids=["on-failure heeded", "on-failure ignored"])
@pytest.mark.parametrize(
    "fail",
    [
        "make setup",
        "make lint",
        "make test",
        "make test-long",
        "aws ecr describe-repositories",
        "aws ecr get-login-password",
        "docker login",
        "docker buildx create",
        "make test-container",
        "make test-image-gpu",
        "aws ecr batch-get-image",
    ],
)
def test_nothing_is_pushed_after_a_failed_step(tmp_path: Path, fail: str, heeds_abort: bool):
    build = Build(tmp_path, fail=fail, heeds_abort=heeds_abort).run()
    assert any(call.startswith(fail) for call in build.calls)
    assert build.failed_in is not None
    assert build.pushed == []


def test_the_push_says_why_it_does_nothing(tmp_path: Path):
    build = Build(tmp_path, fail="make test-image-gpu", heeds_abort=False).run()
    assert "A step before this one failed: nothing is pushed." in build.log


def test_a_source_that_is_no_commit_ends_the_build(tmp_path: Path):
    build = Build(tmp_path, commit="wZ3.b8cY_version_of_an_object_in_S3").run()
    assert build.failed_in is not None
    assert "The source's version is 'wZ3.b8cY_ver', not a git commit" in build.log
    assert build.pushed == []


def test_a_failed_push_fails_the_build_and_the_next_build_pushes_what_is_missing(tmp_path: Path):
    first = Build(tmp_path / "1", fail=f"docker push --quiet {REGISTRY}/sagemaker-ssd:{version()}-gpu").run()
    assert first.failed_in == "post_build"
    assert first.pushed == [f"{version()}-cpu", "0123456789ab-cpu", f"{version()}-gpu"]
    second = Build(tmp_path / "2", there="0123456789ab-cpu").run()
    assert second.failed_in is None, second.log
    assert second.pushed == [f"{version()}-gpu", "0123456789ab-gpu"]


def test_the_password_goes_to_docker_and_nowhere_else(good: Build):
    assert (good.folder / "calls.password").read_text().strip() == PASSWORD
    assert f"docker login --username AWS --password-stdin {REGISTRY}" in good.calls
    for text in (good.log, *good.calls, good.saved.read_text()):
        assert PASSWORD not in text


def test_the_readme_names_the_tags():
    page = (ROOT / "docs" / "sagemaker.md").read_text()
    for tag in ("<commit>-cpu", "<commit>-gpu", "<version>-cpu", "<version>-gpu", "cache-cpu", "cache-gpu"):
        assert f"`{tag}`" in page
