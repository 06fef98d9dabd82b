"""CodeBuild in small: runs buildspec.yml with stand-ins for docker, aws and make, which note what they are asked."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
SPEC = yaml.safe_load((ROOT / "buildspec.yml").read_text())
PHASES = ("install", "pre_build", "build", "post_build")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REGISTRY = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
PASSWORD = "the-password-of-the-registry"

# Every stand-in notes its arguments; FAIL is the start of the call that shall fail, THERE the tags that ECR has.
STAND_IN = """#!/bin/bash
call="${0##*/} $*"
echo "$call" >> "$CALLS"
[ -z "$FAIL" ] || case $call in "$FAIL"*) exit 1 ;; esac
case $call in
    "aws ecr get-login-password"*) echo PASSWORD ;;
    "aws ecr describe-repositories"*) echo REGISTRY/sagemaker-ssd ;;
    "aws ecr batch-get-image"*)
        for tag in $THERE; do case $call in *"imageTag=$tag "*) echo 1; exit ;; esac; done
        echo 0 ;;
    "docker login"*) cat > "$CALLS.password" ;;
esac
""".replace("PASSWORD", PASSWORD).replace("REGISTRY", REGISTRY)


@dataclass
class Build:
    """A build in a folder of its own; `run` does with the phases what CodeBuild does."""

    folder: Path
    commit: str = COMMIT
    fail: str = ""
    there: str = ""
    heeds_abort: bool = True
    log: str = ""
    failed_in: str | None = None
    calls: list[str] = field(default_factory=list)

    def run(self) -> "Build":
        programs = self.folder / "programs"
        programs.mkdir(parents=True)
        for name in ("aws", "docker", "make", "apt-get"):
            (programs / name).write_text(STAND_IN)
            (programs / name).chmod(0o755)
        variables = {
            **SPEC["env"]["variables"],
            "PATH": f"{programs}:/usr/bin:/bin",
            "CALLS": self.folder / "calls",
            "FAIL": self.fail,
            "THERE": self.there,
            "CODEBUILD_RESOLVED_SOURCE_VERSION": self.commit,
        }
        self.saved.write_text("".join(f"export {name}='{value}'\n" for name, value in variables.items()))
        for phase in PHASES:
            # After a failed install or pre_build phase CodeBuild ends; after a failed build phase it goes on.
            if self.failed_in is None or (self.failed_in, phase, self.heeds_abort) == ("build", "post_build", False):
                self._run(phase)
        self.calls = (self.folder / "calls").read_text().splitlines()
        return self

    @property
    def saved(self) -> Path:
        """The exported variables, all that a command leaves to the next one: the least that CodeBuild promises."""
        return self.folder / "variables"

    @property
    def pushed(self) -> list[str]:
        return [call.rpartition(":")[2] for call in self.calls if call.startswith("docker push")]

    def _run(self, phase: str) -> None:
        for command in SPEC["phases"][phase]["commands"]:
            before = f". '{self.saved}'\nexport CODEBUILD_BUILD_SUCCEEDING={int(self.failed_in is None)}\n"
            after = f"\nstatus=$?\nexport -p > '{self.saved}'\nexit $status\n"
            shell = ["bash", "-c", before + command + after]
            done = subprocess.run(shell, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.log += done.stdout
            if done.returncode != 0:
                self.failed_in = phase
                return
