"""A child process that detects: its socket, what it says of its end, and whether it hangs."""

from collections.abc import Mapping, Sequence
from typing import Final

from sagemaker_ssd.errors import JobError, PlatformError, internal_error
from sagemaker_ssd.processes.child_process import ConnectedProcess
from sagemaker_ssd.processes.exit_reason import exit_failure

_MODULE: Final = "sagemaker_ssd.hosting"
# Seconds without any use of the processor, the disk or the network. A slow machine uses them all the time: a busy
# process is never ended for being slow.
_QUIET_SECONDS: Final = 60.0
_NAME: Final = "the detection process"


class DetectorProcess(ConnectedProcess):
    """Runs `python -m sagemaker_ssd.hosting`; what goes over the socket is told in hosting/front_socket.py."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__(_MODULE, arguments, environment)
        self.expired: str | None = None
        self.expect("its start")

    def expect(self, activity: str) -> None:
        """Note that the process has something to do now, after `activity`."""
        self.watchdog.kick(activity, _QUIET_SECONDS, busy=True)

    def expect_nothing(self) -> None:
        """Note that the process waits for requests."""
        self.watchdog.kick("an answer", None)

    def failure(self, memory_remedy: str) -> JobError:
        """Say why the ended process ended; memory_remedy: what to do where the machine had run out of memory."""
        if self.expired is not None:
            return PlatformError(
                f"{_NAME} hangs: {self.expired}, as when a GPU or a disk gives no answer. It is started again; where "
                "that does not help, deploy the model on another instance"
            )
        failure = exit_failure(_NAME, self.returncode or 0, self.report, self.stderr_tail, memory_remedy)
        return failure or internal_error(f"{_NAME} ended without a reason")
