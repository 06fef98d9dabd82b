"""check-gpu: tries every card of this machine and all together, in ten minutes, and prints a table of what holds.

`docker run --gpus all IMAGE check-gpu`, or `./train check-gpu`. The exit code is 0 only if everything holds.
"""

import argparse
import contextlib
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sagemaker_ssd.check_gpu.findings import Finding, from_json, table
from sagemaker_ssd.check_gpu.plan import Plan
from sagemaker_ssd.commands import exit_code_of
from sagemaker_ssd.contract.hyperparameter_values import LARGEST_IMAGE_SHAPE, SMALLEST_IMAGE_SHAPE
from sagemaker_ssd.coordination.addresses import reserve_port
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import PlatformError, UserError, in_words, listed
from sagemaker_ssd.gpu import check_cards, check_driver, count_gpus, unseen
from sagemaker_ssd.processes.answers import ask
from sagemaker_ssd.processes.exit_reason import last_words
from sagemaker_ssd.processes.mxnet_environment import mxnet_environment
from sagemaker_ssd.supervisor.parameter_server import SERVER_MODULE, ParameterServer, Role, role_environment
from sagemaker_ssd.version import is_gpu_build, version

_NETWORKS: Final = ("resnet-50", "vgg-16")
_PART: Final = "sagemaker_ssd.check_gpu.part"
_PART_SECONDS: Final = 240.0
_COMPARISONS: Final = ("network", "optimizers", "together", "host", "probe")
# Images of a batch for which there is no memory, and of those that the input makes.
_CANNOT_FIT: Final = 64
_INPUT_BATCH: Final = 32
_LARGEST_BATCH: Final = 4096
_LOCAL: Final = "127.0.0.1"
# Outside of those that the system gives away by itself.
_PORTS: Final = range(20_000, 32_000)
# What a dead process may leave of a card's memory: another process's context and the driver's own bookkeeping vary.
_FREE_BYTES_APART: Final = 256 << 20
# What a measurement leaves of its time for the end of its process.
_BEFORE_THE_DEADLINE_SECONDS: Final = 30.0
# Of a check that did not begin, and of one that the time of all ended: neither says anything of the device.
_LEFT_OUT: Final = "left out: the time was over"
# Between the last step that was seen and the kill: in the middle of the next one.
_INTO_THE_STEP_SECONDS: Final = 0.05


class _StoppedError(Exception):
    """check-gpu was asked to stop."""


class Checker:
    """Runs the parts one after the other, prints each finding when it is there, and keeps them all.

    deadline: a time of time.monotonic after which nothing begins; what had to be left out is a finding.
    """

    def __init__(self, options: argparse.Namespace, devices: Sequence[str]) -> None:
        self.findings: list[Finding] = []
        self.devices = tuple(devices)
        self._options = options
        self._deadline: float = time.monotonic() + 60 * options.minutes
        self._memory = None if options.memory_gib is None else int(options.memory_gib * (1 << 30))
        self._stopping = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        """Run everything."""
        devices, size = self.devices, min(self._options.sizes)
        for network in _NETWORKS:
            self._part(Plan("network", devices, network, size), f"a step, frozen layers, detections of {network}")
        self._part(Plan("optimizers", devices), "the updates of the optimizers")
        if len(devices) > 1:
            for network in _NETWORKS:
                self._part(Plan("together", devices, network, size), f"a step of {network} on all devices together")
            self._over_processes(Plan("host", devices[:2], image_shape=size))
        self._kill_in_a_step(Plan("endless", devices, image_shape=size, images=2 * len(devices)))
        self._out_of_memory(Plan("exhaust", devices[:1], "vgg-16", size, batches=(_CANNOT_FIT,)))
        for network in _NETWORKS:
            what = f"a step of {network} in the precision of jobs"
            self._part(Plan("tf32", devices[:1], network, size), what, measures=True)
        self._speeds(self._input())

    @property
    def failed(self) -> list[Finding]:
        """Return the findings that do not hold."""
        return [one for one in self.findings if one.holds is False]

    @property
    def stopped(self) -> bool:
        """Say whether a signal has asked for the end."""
        return self._stopping

    def _add(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            print(finding.line(), flush=True)
        self.findings += findings

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _part(self, plan: Plan, what: str, *, measures: bool = False) -> list[Finding]:
        """Run a part, keep what it finds, and return that; what: for the finding that says that it gave no answer.

        measures: the part has figures alone, so that it may be left out when time is short.
        """
        found = self.answer(plan, what)
        if measures and self._left() <= 0:
            # What was being measured when the time was over is no fault.
            found = [one for one in found if one.holds is not False]
            found = found or [replace(_left_out(what, plan), holds=None)]
        self._add(found)
        return found

    def answer(self, plan: Plan, what: str) -> list[Finding]:
        """Return what a part finds, or what became of its process, or that the time was over."""
        seconds = min(_PART_SECONDS, self._left())
        if seconds <= 0:
            return [_left_out(what, plan)]
        try:
            environment = part_environment(plan)
            answer = ask(self._command(plan), seconds=seconds, environment=environment, stopping=lambda: self._stopping)
        except TimeoutError:
            if self._left() <= 0:
                return [_left_out(what, plan)]
            return [Finding(what, plan.where, f"no answer in {seconds:.0f} seconds", "an answer", False)]
        if answer is None:
            raise _StoppedError
        if answer.returncode != 0:
            words = _how_it_ended(answer.returncode, answer.stderr)
            return [Finding(what, plan.where, words, "an end by itself", False)]
        return from_json(answer.stdout.splitlines()[-1])

    def _command(self, plan: Plan) -> list[str]:
        return [sys.executable, "-P", "-m", _PART, plan.limited(self._memory).to_json()]

    def _over_processes(self, plan: Plan) -> None:
        """Make a step of dist_sync with a process for each of the devices."""
        what, count = "a step of dist_sync, a process each", len(plan.devices)
        if self._left() <= 0:
            self._add([_left_out(what, plan)])
            return
        reserved = reserve_port(_LOCAL, _PORTS)
        if reserved is None:
            raise PlatformError(f"no port from {_PORTS[0]} to {_PORTS[-1]} is free on {_LOCAL}")
        server = ParameterServer(count, _LOCAL, (_LOCAL, reserved.getsockname()[1]))
        serving = [sys.executable, "-P", "-m", SERVER_MODULE, "--supervisor", str(os.getpid())]
        roles: list[tuple[Role, list[str]]] = [("scheduler", serving)]
        roles += [("server", serving)] * count
        roles += [("worker", self._command(replace(plan, rank=rank))) for rank in range(count)]
        with reserved, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            processes = []
            for number, (role, command) in enumerate(roles):
                output, errors = (
                    stack.enter_context(Path(folder, f"{number}.{of}").open("w+")) for of in ("out", "err")
                )
                environment = role_environment(part_environment(plan), role, server)
                process = subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
                )
                stack.callback(process.wait)
                stack.callback(process.kill)
                processes.append((process, output, errors))
            workers = processes[-count:]
            end = time.monotonic() + min(_PART_SECONDS, self._left())
            while any(process.poll() is None for process, _, _ in workers) and time.monotonic() < end:
                if self._stopping:
                    raise _StoppedError
                if any(process.poll() not in (None, 0) for process, _, _ in workers):
                    break
                time.sleep(0.1)
            ended = [process.poll() for process, _, _ in workers]
            if self._left() <= 0 and None in ended and set(ended) <= {None, 0}:
                self._add([_left_out(what, plan)])
                return
            found: list[Finding] = []
            for process, output, errors in workers:
                output.seek(0)
                errors.seek(0)
                if process.poll() != 0:
                    words = _how_it_ended(process.poll(), errors.read())
                    found.append(Finding(what, plan.where, words, "an end by itself", False))
                else:
                    found += from_json(output.read().splitlines()[-1])
        self._add(found)

    def _kill_in_a_step(self, plan: Plan) -> None:
        """Kill a process in a step; the devices must be as free as before, and compute."""
        what = "a kill in a step"
        before = self._probe(what, plan.devices)
        if before is None:
            return
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                self._command(plan),
                env=part_environment(plan),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
            )
            try:
                end = time.monotonic() + min(_PART_SECONDS, self._left())
                # It prints a line when a step is done.
                while process.poll() is None and time.monotonic() < end and not os.fstat(output.fileno()).st_size:
                    if self._stopping:
                        raise _StoppedError
                    time.sleep(_INTO_THE_STEP_SECONDS)
                runs = process.poll() is None
                stepped = runs and bool(os.fstat(output.fileno()).st_size)
            finally:
                process.kill()
                process.wait()
        if runs and not stepped and self._left() <= 0:
            self._add([_left_out(what, plan)])
            return
        if not stepped:
            self._add(
                [Finding(what, plan.where, _how_it_ended(process.returncode, "it made no step"), "a kill", False)]
            )
            return
        self._is_as_before(f"{what} leaves the device free", plan.devices, before)

    def _probe(self, check: str, devices: Sequence[str]) -> list[Finding] | None:
        """Return what is free on each device; None, with a finding, where one does not compute.

        check: what it is for, and what is left out where there is no time for it.
        """
        found = self.answer(Plan("probe", tuple(devices)), "a look at the device")
        found = [replace(one, what=check) if one.found == _LEFT_OUT else one for one in found]
        faults = [one for one in found if one.holds is False]
        self._add(faults)
        return None if faults else [one for one in found if one.holds is None]

    def _is_as_before(self, what: str, devices: Sequence[str], before: Sequence[Finding]) -> None:
        after = self._probe(what, devices)
        if after is not None:
            self._add([freed(what, one, other) for one, other in zip(before, after, strict=True)])

    def _out_of_memory(self, plan: Plan) -> None:
        """Train with a batch that cannot fit; the device must be as free as before, and compute."""
        what = "a batch that cannot fit"
        before = self._probe(what, plan.devices)
        if before is None:
            return
        found = self._part(plan, what)
        # Where nothing was exhausted, what is free then says nothing.
        if all(one.holds for one in found):
            self._is_as_before("it leaves the device free", plan.devices, before)

    def _input(self) -> dict[int, float]:
        """Measure the input; return its images/s by size."""
        made: dict[int, float] = {}
        for size in self._options.sizes:
            plan = Plan("input", image_shape=size, images=_INPUT_BATCH, seconds=self._options.seconds)
            for finding in self._part(plan, f"input at {size} px", measures=True):
                if "images/s" in finding.found:
                    made[size] = float(finding.found.split()[0])
        return made

    def _speeds(self, made: Mapping[int, float]) -> None:
        """Measure training on the first device, and say where it would wait for the input; made: as of `_input`."""
        batches, seconds = tuple(self._options.batches), self._options.seconds
        count = len(self.devices)
        for size in self._options.sizes:
            for network in _NETWORKS:
                plan = Plan("speed", self.devices[:1], network, size, batches=batches, seconds=seconds)
                found = self._speed(plan, f"speed of {network} at {size} px")
                measured = [one for one in found if "images/s" in one.found]
                speeds = [float(one.found.split()[0]) for one in measured]
                if measured and size == min(self._options.sizes):
                    # One batch of each network tells whether it would be worth its time.
                    largest = int(measured[-1].what.split()[1])
                    tuned = replace(plan, batches=(largest,), tuned=True)
                    self._speed(tuned, f"speed of {network} with algorithms tried out")
                if not speeds or size not in made:
                    continue
                # All cards are fed by the same cores.
                wanted = max(speeds) * count
                waits = f"wait for the input: {made[size]:.1f} of {wanted:.1f} images/s"
                where = f"{network} at {size} px, {'the card' if count == 1 else f'{count} devices'}"
                self._add([Finding("training and input", where, waits if made[size] < wanted else "do not wait")])

    def _speed(self, plan: Plan, what: str) -> list[Finding]:
        # It says itself what it has left out; to end a process takes a moment.
        within = min(self._left(), _PART_SECONDS) - _BEFORE_THE_DEADLINE_SECONDS
        return self._part(replace(plan, within=max(0.0, within)), what, measures=True)


def part_environment(plan: Plan) -> dict[str, str]:
    """Return the environment of a part's process: a job's, but for the precision of comparisons and what is tuned."""
    environment = mxnet_environment(os.environ, usable_cores())
    if plan.part in _COMPARISONS:
        # They are of float32: TensorFloat-32, in which cards from Ampere on convolve, rounds to ten bits.
        environment["NVIDIA_TF32_OVERRIDE"] = "0"
    if plan.tuned:
        environment["MXNET_CUDNN_AUTOTUNE_DEFAULT"] = "1"
    return environment


def freed(what: str, before: Finding, after: Finding) -> Finding:
    """Return whether a device, of which two looks told the free bytes, has its memory back; CPUs tell none."""
    if not before.found.isdecimal() or not after.found.isdecimal():
        return Finding(what, before.where, "the next process computes", "it computes", True)
    lost = int(before.found) - int(after.found)
    found = f"{max(lost, 0) >> 20} MiB are missing, the next process computes"
    allowed = f"less than {_FREE_BYTES_APART >> 20} MiB are missing"
    return Finding(what, before.where, found, allowed, lost < _FREE_BYTES_APART)


def _left_out(what: str, plan: Plan) -> Finding:
    """Return the finding of a check for which there was no time, so that it is not known to hold."""
    return Finding(what, plan.where, _LEFT_OUT, "", False)


def _how_it_ended(code: int | None, stderr: str) -> str:
    """Say how a process ended that should have found something."""
    ended = "no end in time" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{ended}{last_words(stderr)}"


def _cards() -> Iterator[str]:
    """Yield what the driver says of the cards, a line each, and of itself."""
    fields = "index,name,driver_version,memory.total"
    with contextlib.suppress(OSError, TimeoutError):
        answer = ask(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], seconds=60)
        if answer is not None and answer.returncode == 0:
            yield from answer.stdout.splitlines()


def _find_devices(asked: Sequence[str] | None) -> list[str]:
    """Return the devices, every GPU where none are asked for; raises JobError where they cannot be tried."""
    if asked and asked[0] == "cpu":
        return [f"cpu({number})" for number in range(len(asked))]
    if not is_gpu_build():
        raise UserError(
            "check-gpu tries GPUs, and this is the CPU build: use the GPU image, `docker run --gpus all "
            "sagemaker-ssd:gpu check-gpu`; or see what it does by `check-gpu --devices cpu,cpu`"
        )
    check_driver()
    with tempfile.TemporaryDirectory() as scratch:
        gpus = count_gpus(Path(scratch))
    assert gpus is not None
    check_cards(gpus)
    wanted = gpus if asked is None else len(asked)
    if wanted > gpus:
        raise UserError(
            f"--devices: {wanted} were asked for, this machine has {in_words(gpus, 'GPU', 'GPUs')}: write gpu at most "
            "so often, or leave --devices out, which tries all"
        )
    return [f"gpu({number})" for number in range(wanted)]


def _names(text: str) -> list[str]:
    names = text.split(",")
    if set(names) not in ({"cpu"}, {"gpu"}):
        raise argparse.ArgumentTypeError(f"{text!r}: write gpu or cpu as often as there are devices to try: gpu,gpu")
    return names


def _sizes(text: str) -> list[int]:
    return _numbers(text, SMALLEST_IMAGE_SHAPE, LARGEST_IMAGE_SHAPE)


def _batches(text: str) -> list[int]:
    return _numbers(text, 1, _LARGEST_BATCH)


def _numbers(text: str, least: int, most: int) -> list[int]:
    words = text.split(",")
    if not all(word.isdecimal() and least <= int(word) <= most for word in words):
        raise argparse.ArgumentTypeError(f"{text!r}: write whole numbers from {least} to {most}, with commas between")
    return [int(word) for word in words]


def _positive(text: str) -> float:
    number = _not_negative(text)
    if not number:
        raise argparse.ArgumentTypeError("0 is too little: write a number above it")
    return number


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of 0 or more")
    return number


def main(arguments: Sequence[str]) -> int:
    """Run the checks and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="check-gpu", description=__doc__)
    parser.add_argument("--devices", type=_names, help="gpu,gpu or cpu,cpu; otherwise every GPU")
    parser.add_argument("--sizes", type=_sizes, default=[300, 512], help="image_shape, such as 300,512")
    parser.add_argument("--batches", type=_batches, default=[8, 16, 32, 64], help="batch sizes, such as 8,16,32,64")
    parser.add_argument("--seconds", type=_positive, default=5.0, help="of each measurement of speed")
    parser.add_argument("--minutes", type=_not_negative, default=10.0, help="after which nothing begins or goes on")
    parser.add_argument("--memory-gib", type=_positive, help="the most memory of each process, for CPUs")
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: _check(options))


def _check(options: argparse.Namespace) -> int:
    begin = time.monotonic()
    checker = Checker(options, _find_devices(options.devices))
    about: list[Finding] = []
    whole = False
    try:
        with contextlib.suppress(_StoppedError):
            about = _about(checker, options)
            checker.run()
            whole = True
    finally:
        # What has been found counts, also where the rest cannot be looked at.
        if checker.findings or checker.stopped:
            _print_table(checker, about, whole=whole, seconds=time.monotonic() - begin)
    return 0 if whole and not checker.stopped and not checker.failed else 1


def _about(checker: Checker, options: argparse.Namespace) -> list[Finding]:
    """Return what MXNet says of itself; raises JobError where it does not start or lacks cards."""
    about = checker.answer(Plan("about"), "MXNet")
    if about[0].found == _LEFT_OUT:
        raise UserError(f"--minutes {options.minutes:g}: the time was over before MXNet had started; allow more")
    if about[0].holds is False:
        raise PlatformError(f"MXNet does not start: {about[0].found}")
    seen = int(about[0].found)
    if checker.devices[0].startswith("gpu") and seen < len(checker.devices):
        raise UserError(unseen(listed(list(checker.devices), "and"), seen))
    return about


def _print_table(checker: Checker, about: Sequence[Finding], *, whole: bool, seconds: float) -> None:
    print(f"\nsagemaker-ssd {version()}, Python {platform.python_version()}")
    for one in about:
        print(f"{one.what}: {one.found}")
    for card in _cards():
        print(f"card, name, driver, memory: {card}")
    print(f"devices: {', '.join(checker.devices)}; {seconds:.0f} seconds\n")
    print(table(checker.findings))
    stopped, failed = checker.stopped or not whole, len(checker.failed)
    print(f"\n{'STOPPED before the end' if stopped else f'{failed} FAILED' if failed else 'Everything holds.'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
