"""Containers of an image on the real Docker engine, and the drawn jobs that are mounted into them."""

import json
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ended_job import Ended

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 240
# resnet-50 has three times the speed of vgg-16.
QUICK = ("--hyperparameter", "base_network=resnet-50", "--hyperparameter", "use_pretrained_model=0")
# Two steps an epoch.
TINY = ("--train", "4", "--validation", "2", "--hyperparameter", "mini_batch_size=2")


def docker(*arguments: object) -> str:
    """Run a docker command and return what it prints, on both streams."""
    command = ["docker", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout + ended.stderr


def engine_fault(image: str, target: str) -> str | None:
    """Say in a sentence why the tests of `image`, which `make target` builds, cannot run."""
    try:
        found = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return "these tests need Docker, and there is no docker on PATH: install it, or run `make test` alone"
    if found.returncode != 0:
        return f"these tests need Docker, and its engine does not answer: {found.stderr.strip()}"
    if not docker("images", "--quiet", image).strip():
        return f"there is no image {image}: build it with `make {target}`"
    return None


@dataclass
class Container:
    """A container that runs, or has run, on `base`."""

    name: str
    base: Path

    @property
    def log(self) -> str:
        return docker("logs", self.name)

    @property
    def running(self) -> bool:
        return docker("inspect", "--format", "{{.State.Running}}", self.name).strip() == "true"

    def until(self, text: str) -> None:
        """Wait until the log holds `text`."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.log:
            assert self.running, f"it ended without {text!r}:\n{self.log}"
            assert time.monotonic() < deadline, f"no {text!r} in time:\n{self.log}"
            time.sleep(0.1)

    def stop(self) -> float:
        """Run `docker stop`; return the seconds that it took."""
        start = time.monotonic()
        docker("stop", self.name)
        return time.monotonic() - start

    def kill(self) -> None:
        """End it at once, as a machine that is switched off."""
        docker("kill", self.name)

    def end(self) -> Ended:
        """Wait for the end."""
        return Ended(int(docker("wait", self.name)), self.log, self.base)


@dataclass
class Engine:
    """Starts containers of one image and knows them all, so that they can be removed."""

    image: str
    started: list[str] = field(default_factory=list)

    def start(self, base: Path, *arguments: str, options: Sequence[object] = ()) -> Container:
        """Start the image with `base` as /opt/ml."""
        name = f"sagemaker-ssd-test-{uuid.uuid4().hex[:12]}"
        self.started.append(name)
        docker("run", "--detach", "--name", name, "--volume", f"{base}:/opt/ml", *options, self.image, *arguments)
        return Container(name, base)

    def run(self, base: Path, *arguments: str, options: Sequence[object] = ()) -> Ended:
        return self.start(base, *arguments, options=options).end()

    def shell(self, script: str) -> str:
        """Run a shell script in the image, without a job; return what it prints."""
        return docker("run", "--rm", "--network", "none", "--entrypoint", "sh", self.image, "-c", script)

    def inspect(self) -> dict:
        return json.loads(docker("image", "inspect", self.image))[0]

    def clean_up(self) -> None:
        if self.started:
            subprocess.run(["docker", "rm", "--force", "--volumes", *self.started], capture_output=True, check=False)

    def report(self) -> list[str]:
        """Return the image's size and its layers, as lines."""
        layers = docker("history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", self.image).splitlines()
        filled = [layer.split("\t", 1) for layer in layers if not layer.startswith("0B\t")]
        # The classic builder writes digests instead of what was copied.
        short = ((size, re.sub(r"/bin/sh -c (#\(nop\) )?|\w+:[0-9a-f]{64} in ", "", made)) for size, made in filled)
        total = f"{self.image}: {self.inspect()['Size'] / 1e9:.3f} GB"
        return [total, *(f"{size:>10}  {' '.join(made.split())[:100]}" for size, made in short)]


def draw(base: Path, *options: str) -> None:
    """Draw a job below `base`, with the folders for results that SageMaker makes."""
    script = ROOT / "local_test" / "draw_sample.py"
    subprocess.run([sys.executable, script, base, *QUICK, *options], check=True, capture_output=True, timeout=60)
    for folder in ("model", "output"):
        (base / folder).mkdir()
