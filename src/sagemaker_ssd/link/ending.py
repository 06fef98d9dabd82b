"""How a host's part of a job, or the whole job, ended."""

from dataclasses import dataclass
from typing import Final, Literal

from sagemaker_ssd.errors import JobError, PlatformError, ProgramError, UserError

Kind = Literal["done", "stopped", "failed"]
_BY_CODE: Final[dict[int, type[JobError]]] = {1: UserError, 2: PlatformError, 3: ProgramError}


@dataclass(frozen=True)
class Ending:
    """What ended, with the exit code and the sentence for the person.

    host: the host that this is about, "" for the link between the hosts itself. sentence: "" when done.
    """

    kind: Kind
    host: str
    exit_code: int = 0
    sentence: str = ""

    def error(self, here: str) -> JobError | None:
        """Return the failure that host `here` reports, None with exit code 0; another host's is told with its name."""
        if self.exit_code == 0:
            return None
        sentence = self.sentence if self.host in ("", here) else f"host {self.host}: {self.sentence}"
        return _BY_CODE.get(self.exit_code, ProgramError)(sentence)
