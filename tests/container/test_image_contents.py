"""What is in the image, and what is not."""

import re

import pytest

from container_runner import Engine

SITE = "/opt/sagemaker-ssd/lib/python3.11/site-packages"
LARGEST_BYTES = 1.0e9


def test_the_image_is_below_a_gigabyte(engine: Engine):
    assert engine.inspect()["Size"] < LARGEST_BYTES


def test_entry_point_environment_and_labels(engine: Engine):
    config = engine.inspect()["Config"]
    assert config["Entrypoint"] == ["/usr/local/bin/train"]
    assert not config["Cmd"]
    environment = dict(line.split("=", 1) for line in config["Env"])
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["MXNET_USE_FUSION"] == "0"
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    assert labels["title"] == "sagemaker-ssd"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"].startswith("0.")
    assert labels["revision"]
    assert labels["accept-bind-to-port"] == "true"
    assert labels["multi-models"] == "true"


def test_the_weights_are_those_of_the_label_and_nothing_else(engine: Engine):
    label = engine.inspect()["Config"]["Labels"]["sagemaker-ssd.weights"]
    names = [entry.partition(",")[0].replace(": ", "-") for entry in label.split("; ") if entry != "none"]
    files = {f"{name}.{kind}" for name in names for kind in ("params", "json")} | (
        {"defaults.json"} if names else set()
    )
    assert set(engine.shell("ls /opt/sagemaker-ssd/share/sagemaker-ssd/weights").split()) == files


def test_train_and_serve_on_path_are_this_programs(engine: Engine):
    assert engine.shell("command -v train; command -v serve; command -v python3").split() == [
        "/usr/local/bin/train",
        "/usr/local/bin/serve",
        "/opt/sagemaker-ssd/bin/python3",
    ]


@pytest.mark.parametrize(
    "search",
    [
        "ls -d /opt/ml",
        "command -v gcc cc g++ ld make pip pip3 git",
        f"ls -d {SITE}/pip {SITE}/setuptools {SITE}/pytest {SITE}/bin",
        f"find {SITE} -type d -name tests",
        f"ls -d {SITE}/nvidia {SITE}/mxnet_cu112* /opt/sagemaker-ssd/lib/driver-stand-in",
        "ls /var/lib/apt/lists/* /var/cache/apt/* /root/.cache /build",
        "find / -xdev -name '*.whl' -o -xdev -name '*.deb' -o -xdev -name '*.lock' -path '*requirements*'",
    ],
)
def test_nothing_that_a_job_does_not_need(engine: Engine, search: str):
    assert engine.shell(f"{{ {search}; }} 2>/dev/null || true").strip() == ""


def test_bytecode_is_used_as_it_was_copied(engine: Engine):
    # Python says `matches` for every bytecode file that fits its source.
    told = engine.shell("python3 -v -c 'import mxnet, gluoncv' 2>&1")
    assert f"{SITE}/mxnet/__pycache__/base.cpython-311.pyc matches {SITE}/mxnet/base.py" in told
    assert not re.search(rf"# code object from '{SITE}/mxnet[^']*\.py'", told)


def test_notices_name_every_package_with_its_licence(engine: Engine):
    notices = engine.shell("cat /usr/share/doc/sagemaker-ssd/THIRD_PARTY.txt")
    script = "from importlib.metadata import distributions as d; print(*(f'{p.name}\\t{p.version}\\n' for p in d()))"
    installed = [line.split("\t") for line in engine.shell(f'python3 -c "{script}"').splitlines() if line.strip()]
    assert len(installed) > 50
    for name, version in installed:
        if name.strip() != "sagemaker-ssd":
            assert f"\n{name.strip()} {version.strip()}\nLicence: " in notices
    assert "Apache License" in notices
    assert "Apache License" in engine.shell("cat /usr/share/doc/sagemaker-ssd/LICENSE")


def test_the_builds_library_report(engine: Engine):
    report = engine.shell("cat /usr/share/doc/sagemaker-ssd/libraries.txt")
    assert "libraries not found: none\n" in report
    assert "symbols that libmxnet.so does not find: none\n" in report
    assert "mxnet 1.9.1 gluoncv " in report
