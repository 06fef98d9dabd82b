"""Machines with GPUs and without, as variables make a program see them, for CPU and GPU builds."""

import os
import subprocess
from pathlib import Path

METADATA = "Metadata-Version: 2.1\nName: mxnet-cu112\nVersion: 1.9.1\n"


def machine_variables(
    folder: Path, *, gpus: int = 0, card: str = "Tesla T4, 7.5", driver: bool = False, gpu_build: bool = False
) -> dict[str, str]:
    """Return variables for a program that finds so many of a card, a driver, and the metadata of the GPU image's MXNet.

    What they name is written into `folder`, and hides what the machine itself has. card: its name and compute
    capability. The driver is a library that loads, and finds nothing.
    """
    for part in ("site", "driver", "tools"):
        (folder / part).mkdir(parents=True)
    tool, library = folder / "tools" / "nvidia-smi", folder / "driver" / "libcuda.so.1"
    listed = f"for card in $(seq {gpus}); do echo GPU $card: {card}; done" if gpus else "exit 6"
    tool.write_text(f"#!/bin/sh\ncase $1 in --list-gpus) {listed} ;; *) echo {card} ;; esac\n")
    tool.chmod(0o755)
    if driver:
        command = ["cc", "-shared", "-x", "c", "-", "-o", library]
        subprocess.run(command, input="int cuInit(unsigned flags) { return 100; }", text=True, check=True)
    else:
        library.touch()
    if gpu_build:
        metadata = folder / "site" / "mxnet_cu112-1.9.1.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(METADATA)
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder / "site"), os.environ.get("PYTHONPATH")))),
        "LD_LIBRARY_PATH": str(library.parent),
        "PATH": f"{tool.parent}:/usr/bin:/bin",
    }
