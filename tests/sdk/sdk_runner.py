"""The two SDKs in environments of their own, and the traces of their local mode on the Docker engine."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DEADLINE_SECONDS = 600
CONTENT_TYPES = {"images": "image/jpeg", "recordio": "application/x-recordio"}
# Both SDKs join their containers to this network and leave it behind.
NETWORK = "sagemaker-local"
MODEL = {"model_algo_1-symbol.json", "model_algo_1-0000.params", "hyperparams.json"}
# Python values, as in a notebook; two steps of one epoch.
HYPERPARAMETERS = {
    "base_network": "resnet-50",
    "use_pretrained_model": 0,
    "num_classes": 3,
    "num_training_samples": 4,
    "mini_batch_size": 2,
    "epochs": 1,
    "learning_rate": 0.002,
    "lr_scheduler_step": "10,20",
    "early_stopping": True,
}
# The same as the image writes them down after either SDK's spelling.
PASSED = {
    "base_network": "resnet-50",
    "use_pretrained_model": "0",
    "num_classes": "3",
    "num_training_samples": "4",
    "mini_batch_size": "2",
    "epochs": "1",
    "learning_rate": "0.002",
    "lr_scheduler_step": "10,20",
    "early_stopping": "True",
}
SECRET = "the-secret-key-of-no-account"
# Neither SDK shall report these runs to AWS.
NO_TELEMETRY = "SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"


def engine_fault(image: str) -> str | None:
    """Say in a sentence why the SDK's local mode cannot run here."""
    if shutil.which("docker") is None:
        return "these tests need Docker, and there is no docker on PATH"
    found = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=60, check=False)
    if found.returncode != 0:
        return f"these tests need Docker, and its engine does not answer: {found.stderr.strip()}"
    # SDK v2 knows the plugin of Compose 2 only, by "v2" in what it prints, and takes docker-compose otherwise.
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, timeout=60, check=False)
    if "v2" not in plugin.stdout and shutil.which("docker-compose") is None:
        return "the SDK's local mode needs Docker Compose 2, or docker-compose on PATH"
    if not docker("images", "--quiet", image).strip():
        return f"there is no image {image}: build it with `make image`"
    return None


def docker(*arguments: object) -> str:
    """Run a docker command and return what it prints."""
    command = ["docker", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout


def make_environment(version: int) -> Path:
    """Return the Python of SDK `version`'s environment, which is made anew when its lock has changed."""
    folder, lock = ROOT / f".venv-sdk{version}", HERE / f"requirements-v{version}.lock"
    python, complete = folder / "bin" / "python", folder / ".complete"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not complete.exists() or complete.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", lock], check=True)
        complete.write_text(wanted)
    return python


@dataclass(frozen=True)
class Ended:
    """How a driver ended, and the folder that it was given for results."""

    code: int
    output: str
    results: Path


def documented(version: int, replaced: Mapping[str, str]) -> list[str]:
    """Return the snippets of docs/hosting.md that are marked for an SDK, with addresses of S3 and types replaced."""
    page = (ROOT / "docs" / "hosting.md").read_text()
    marked = rf"^<!-- local mode, version {version} -->\n```python\n(.*?)^```$"
    snippets = re.findall(marked, page, re.MULTILINE | re.DOTALL)
    for old, new in replaced.items():
        assert any(old in snippet for snippet in snippets), old
        snippets = [snippet.replace(old, new) for snippet in snippets]
    assert not any("s3://" in snippet or "ml." in snippet for snippet in snippets)
    return snippets


@dataclass(frozen=True)
class LocalMode:
    """Runs jobs of `image` with one SDK; everything that it leaves is below `folder`, or on the engine."""

    version: int
    image: str
    folder: Path

    def results(self) -> Path:
        """Make a folder for the results of a job; SDK v3 names its containers after it."""
        results = self.folder / f"sagemaker-ssd-test-{uuid.uuid4().hex[:12]}"
        results.mkdir()
        return results

    def job(self, results: Path, content: str = "images", **hyperparameters: object) -> list[object]:
        """Draw a data set of two steps an epoch; return the arguments of a program that trains on it."""
        script = ROOT / "local_test" / "draw_sample.py"
        size = ["--train", "4", "--validation", "2", "--content", content]
        drawing = [sys.executable, script, self.folder / "job", *size]
        subprocess.run(drawing, check=True, capture_output=True, timeout=60)
        chosen = json.dumps(HYPERPARAMETERS | hyperparameters)
        return [self.image, self.folder / "job" / "input" / "data", CONTENT_TYPES[content], results, chosen]

    def train(self, content: str = "images", hosts: int = 1, **hyperparameters: object) -> Ended:
        """Train on a drawn data set."""
        results = self.results()
        return self.run("train", results, *self.job(results, content, **hyperparameters), hosts)

    def run(self, task: str, results: Path, *arguments: object) -> Ended:
        """Run the SDK's program for a task to its end, or kill it with all that it started."""
        child = subprocess.Popen(
            [make_environment(self.version), HERE / f"{task}_with_v{self.version}.py", *map(str, arguments)],
            env=self.environment(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(timeout=DEADLINE_SECONDS)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise
        return Ended(child.returncode, output, results)

    def environment(self) -> dict[str, str]:
        """Return the variables that a driver sees: a region and keys of no account, nothing of the person's own."""
        config = self.folder / "sagemaker.yaml"
        config.write_text(NO_TELEMETRY)
        # Of the local mode, below HOME. A port of its own, where that of a person's endpoint may be in use.
        local = self.folder / ".sagemaker" / "config.yaml"
        local.parent.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            local.write_text(f"local: {{serving_port: {free.getsockname()[1]}}}\n")
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("DOCKER_")}
        return {
            "DOCKER_CONFIG": str(Path.home() / ".docker"),
            **kept,
            "HOME": str(self.folder),
            "TMPDIR": str(scratch),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIAOFNOACCOUNT",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def containers(self, *options: str) -> list[str]:
        """Return the containers of this folder's compose files, which the SDK deletes before them; options of ps."""
        of = '{{.ID}} {{.Label "com.docker.compose.project.working_dir"}}'
        listed = [line.partition(" ") for line in docker("ps", *options, "--format", of).splitlines()]
        return [container for container, _, folder in listed if folder and Path(folder).is_relative_to(self.folder)]

    def clean_up(self) -> None:
        """Remove the containers, and all files, though the containers' root owns some."""
        containers = self.containers("--all")
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        if os.getuid() != 0:
            own = f"{self.folder}:/folder"
            docker("run", "--rm", "--volume", own, "--entrypoint", "chmod", self.image, "-R", "a+rwX", "/folder")
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def local_mode(version: int, image: str, folder: Path) -> Iterator[LocalMode]:
    """Lend one SDK's local mode, and remove all traces of it, however that ended."""
    networks = docker("network", "ls", "--format", "{{.Name}}").split()
    mode = LocalMode(version, image, folder)
    try:
        yield mode
    finally:
        mode.clean_up()
        if NETWORK not in networks:
            # Never made when the job did not come so far, and removed by an SDK that was not interrupted.
            subprocess.run(["docker", "network", "rm", NETWORK], capture_output=True, check=False)


def packed(archive: Path) -> dict[str, bytes]:
    """Return the files in a tar.gz and what they hold."""
    with tarfile.open(archive) as opened:
        files = [member for member in opened if member.isfile()]
        return {member.name: opened.extractfile(member).read() for member in files}


def predicted(model: Path, photo: Path) -> list[list[float]]:
    """Return the rows that `predict` prints, outside of any container."""
    command = [sys.executable, "-P", "-m", "sagemaker_ssd.predict", model, photo]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)["prediction"]


def passed_values(hyperparameters: dict[str, str]) -> dict[str, str]:
    """Return those that the drivers passed."""
    return {name: hyperparameters[name] for name in HYPERPARAMETERS}
