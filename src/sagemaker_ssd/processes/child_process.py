"""A child process: its stderr passed on, its end waited for, and killed with whatever it has started."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import IO, Final

from sagemaker_ssd.processes.watchdog import Watchdog

_TAIL_BYTES: Final = 16_384
# A process in uninterruptible sleep is not gone at once when it is killed.
_KILL_SECONDS: Final = 8.0
# What image decoders write of an image that they decode all the same: with thousands of such images a job's log would
# be nothing else, since each is decoded in every epoch.
_OF_DECODERS: Final = (b"libpng warning: ", b"Corrupt JPEG data: ", b"Premature end of JPEG file", b"[ WARN:")
_DECODERS_LINES: Final = 10
_LAST_OF_DECODERS: Final = b"The next warning of an image decoder is the last one shown.\n"


class _DecoderLines:
    """Leaves out the lines of image decoders, but for the first ones."""

    def __init__(self) -> None:
        self._begun = b""
        self._inside = self._dropping = False
        self._passed = 0

    def without_most(self, chunk: bytes) -> bytes:
        """Return what of the next bytes is passed on; a line's begin that may be a decoder's waits for the rest."""
        passed = bytearray()
        lines = (self._begun + chunk).splitlines(keepends=True)
        self._begun = b""
        for line in lines:
            if not self._inside:
                if not line.endswith(b"\n") and any(known.startswith(line) for known in _OF_DECODERS):
                    self._begun = line
                    break
                is_decoders = line.startswith(_OF_DECODERS)
                self._dropping = is_decoders and self._passed >= _DECODERS_LINES
                if is_decoders and not self._dropping:
                    self._passed += 1
                    if self._passed == _DECODERS_LINES:
                        line = _LAST_OF_DECODERS + line
            self._inside = not line.endswith(b"\n")
            if not self._dropping:
                passed += line
        return bytes(passed)

    def rest(self) -> bytes:
        """Return what still waits when there is no more."""
        return self._begun


class ChildProcess:
    """Runs `python -m MODULE --supervisor PID ARGUMENTS` in a session of its own; start it from the main thread.

    PID is this process's, so that the child can end with it. channel: the child's end of a socket, which it inherits;
    the argument `--channel` has its number.

    Its stderr is passed on as it comes and its end is kept, because a C++ abort writes its reason there.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        channel: socket.socket | None = None,
    ) -> None:
        inherited = [] if channel is None else [channel.fileno()]
        named = [f"--channel={descriptor}" for descriptor in inherited]
        self._process = subprocess.Popen(
            # -P: a file `json.py` where the job is started must not be taken for Python's own.
            [sys.executable, "-P", "-m", module, "--supervisor", str(os.getpid()), *named, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=inherited,
            # Ctrl-C on a terminal reaches the supervisor alone, which then stops its children.
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self._tail = bytearray()
        self._readers = [threading.Thread(target=self._forward_stderr, args=(self._process.stderr,), daemon=True)]
        self._readers[0].start()

    def _forward_stderr(self, stream: IO[bytes]) -> None:
        forwarding, decoders, ended = True, _DecoderLines(), False
        while not ended:
            read = os.read(stream.fileno(), 65_536)
            ended = not read
            chunk = decoders.without_most(read) if read else decoders.rest()
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            # Nobody may read our stderr any more; the child's must be read on, or it waits for ever.
            with contextlib.suppress(OSError, ValueError):
                if forwarding and chunk:
                    forwarding = False
                    sys.stderr.buffer.write(chunk)
                    sys.stderr.buffer.flush()
                    forwarding = True

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the end of the process and say whether it came."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        for reader in self._readers:
            reader.join(timeout=5)
        return True

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, and kill the process when it has not ended after `seconds`."""
        self._process.send_signal(signal.SIGTERM)
        if not self.wait(seconds):
            self.kill()

    def kill(self) -> None:
        """Kill the process and whatever it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.wait(_KILL_SECONDS)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, the negative signal number that ended the process, or None while it runs."""
        return self._process.returncode

    @property
    def stderr_tail(self) -> str:
        """The last lines that the process wrote to stderr."""
        return self._tail.decode(errors="replace")


class ConnectedProcess(ChildProcess):
    """A child process with a socket to this one, over which it says what it does, and at last why it ended.

    channel: this process's end, its owner's to close. report: {"exit_code", "sentence"}, None until the child has said
    it. watchdog: for how long it may be quiet.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.channel, theirs = socket.socketpair()
        try:
            super().__init__(module, arguments, environment, channel=theirs)
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()
        self.report: Mapping[str, object] | None = None
        self.watchdog = Watchdog()


def reap_orphans(ours: Collection[int]) -> None:
    """Collect every ended child but `ours`, whose ends their own waiters collect, so that none stays as a zombie.

    Process 1 of a container inherits the children of ended processes, and nobody else waits for them.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in ours:
            return
        os.waitpid(ended.si_pid, 0)
