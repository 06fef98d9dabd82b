"""Whole jobs: the real `./train` on drawn images in a temporary /opt/ml."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ended_job import Ended

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 240
# resnet-50 has three times the speed of vgg-16.
QUICK = ("--hyperparameter", "base_network=resnet-50", "--hyperparameter", "use_pretrained_model=0")


@dataclass
class Job:
    """A drawn job below `base`; `run` and `start` are `./train` with SAGEMAKER_BASE_DIR."""

    base: Path
    temporary: Path
    environment: dict[str, str] = field(default_factory=dict)

    def config(self, name: str) -> Path:
        return self.base / "input" / "config" / f"{name}.json"

    def set(self, **hyperparameters: str | None) -> None:
        path = self.config("hyperparameters")
        values = json.loads(path.read_text()) | hyperparameters
        path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [ROOT / "train", *arguments],
            env={
                **os.environ,
                "SAGEMAKER_BASE_DIR": str(self.base),
                "TMPDIR": str(self.temporary),
                **self.environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> "Ended":
        process = self.start(*arguments)
        try:
            log, _ = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            process.kill()
        return Ended(process.returncode, log, self.base)

    def left_in_scratch(self) -> list[str]:
        return [path.name for path in self.temporary.iterdir()]


def draw(base: Path, *options: str) -> None:
    script = ROOT / "local_test" / "draw_sample.py"
    subprocess.run([sys.executable, script, base, *QUICK, *options], check=True, capture_output=True, timeout=60)


@dataclass
class Watched:
    """A running job whose log is read line by line."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def until(self, text: str) -> str:
        """Read the log until a line holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"the job ended without {text!r}:\n{''.join(self.lines)}")

    def end(self) -> tuple[int, float]:
        """Wait for the end; return the exit code and the seconds it took from now."""
        start = time.monotonic()
        log, _ = self.process.communicate(timeout=DEADLINE_SECONDS)
        self.lines.append(log)
        return self.process.returncode, time.monotonic() - start
