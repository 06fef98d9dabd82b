"""Containers that are the hosts of one job, with their own names and addresses on a network of their own."""

import json
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from container_runner import Container, Engine, docker
from ended_job import Ended


@dataclass
class HostContainers:
    """Starts algo-1 to algo-N on a new network, which `clean_up` removes.

    Each finds its own name on the loopback, as Debian's machines do by their /etc/hosts, and the others' by DNS.
    """

    engine: Engine
    network: str = field(default_factory=lambda: f"sagemaker-ssd-test-{uuid.uuid4().hex[:12]}")
    containers: dict[str, Container] = field(default_factory=dict)

    def start(self, drawn: Path, count: int, **environment: str) -> None:
        """Run the job drawn below `drawn` on `count` hosts."""
        docker("network", "create", self.network)
        names = [f"algo-{number}" for number in range(1, count + 1)]
        variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        for name in names:
            base = drawn.parent / name
            shutil.copytree(drawn / "input" / "config", base / "input" / "config")
            (base / "input" / "data").mkdir()
            resources = {"current_host": name, "hosts": names, "network_interface_name": "eth0"}
            (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(resources))
            self.containers[name] = self.engine.start(
                base,
                "train",
                options=(
                    *("--network", self.network, "--network-alias", name),
                    *("--hostname", f"machine-of-{name}", "--add-host", f"{name}:127.0.1.1"),
                    *("--volume", f"{drawn}/input/data:/opt/ml/input/data:ro"),
                    *variables,
                ),
            )

    def __getitem__(self, name: str) -> Container:
        return self.containers[name]

    def cut(self, name: str) -> None:
        """Take a host's network away, which closes no connection."""
        docker("network", "disconnect", self.network, self.containers[name].name)

    def end(self, name: str, seconds: float) -> Ended:
        """Wait for a host's end, which must come in time."""
        container, deadline = self.containers[name], time.monotonic() + seconds
        while container.running:
            assert time.monotonic() < deadline, f"{name} did not end in {seconds} seconds:\n{container.log}"
            time.sleep(0.1)
        return container.end()

    def clean_up(self) -> None:
        self.engine.clean_up()
        subprocess.run(["docker", "network", "rm", self.network], capture_output=True, check=False)
