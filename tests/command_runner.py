"""The commands on saved models, run as a user runs them."""

import re
import subprocess
import sys
from typing import Any

_PROGRESS = re.compile(r", for \d+:\d\d:\d\d so far$| images in \d+:\d\d:\d\d|: [\d,]+ images checked so far$")


def run_command(module: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m sagemaker_ssd.<module>`; stderr is without the lines of progress, which a slow machine sees."""
    command = [sys.executable, "-P", "-m", f"sagemaker_ssd.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, **options)
    done.stderr = without_progress(done.stderr)
    return done


def without_progress(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not _PROGRESS.search(line.rstrip("\n")))


def progress_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if _PROGRESS.search(line)]
