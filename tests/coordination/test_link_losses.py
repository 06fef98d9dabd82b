"""Hosts that are killed, stopped or cut off; each host is a process of its own, or has a network that can be cut."""

import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from link_hosts import SHORT, Job, failed, job, until

from sagemaker_ssd.coordination.protocol import Outcome

PATIENT = replace(SHORT, silence=60)


def lost(verdict: Outcome, host: str, words: str) -> None:
    assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", host, 2)
    assert words in verdict.sentence


def test_a_killed_host_is_lost_at_once():
    with job(3, PATIENT) as ours:
        first, third = ours.start(ours.hosts[0]), ours.start(ours.hosts[2])
        child = ours.child(ours.hosts[1])
        child.saw("rendezvous")
        child.send_signal(signal.SIGKILL)
        for link in (first, third):
            lost(until(lambda link=link: link.verdict, 2), ours.hosts[1], "the connection to 127.0.0.1 broke off")
        assert third.verdict == first.verdict


def test_a_killed_first_host_is_lost_at_once():
    with job(3, PATIENT) as ours:
        second, third = ours.start(ours.hosts[1]), ours.start(ours.hosts[2])
        child = ours.child(ours.hosts[0])
        child.saw("rendezvous")
        child.send_signal(signal.SIGKILL)
        for link, host in ((second, ours.hosts[1]), (third, ours.hosts[2])):
            lost(until(lambda link=link: link.verdict, 2), ours.hosts[0], f"the connection to {host} broke off")


def test_a_host_that_failed_stays_until_the_first_one_has_passed_it_on():
    with job(2, PATIENT) as ours:
        child, second = ours.child(ours.hosts[0]), ours.start(ours.hosts[1])
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        second.report_outcome(failed(ours.hosts[1]))
        assert until(lambda: second.verdict, 1) == failed(ours.hosts[1])
        closing = threading.Thread(target=second.close)
        closing.start()
        time.sleep(0.5)
        assert closing.is_alive()
        child.send_signal(signal.SIGCONT)
        assert child.verdict() == failed(ours.hosts[1])
        closing.join(1)
        assert not closing.is_alive()


def test_a_host_that_said_it_was_done_may_go():
    with job(2, PATIENT) as ours:
        first = ours.start(ours.hosts[0])
        child = ours.child(ours.hosts[1])
        child.saw("rendezvous")
        child.tell("done")
        time.sleep(0.3)
        child.send_signal(signal.SIGKILL)
        time.sleep(0.3)
        assert first.verdict is None
        first.report_outcome(Outcome("done", ours.hosts[0]))
        assert until(lambda: first.verdict, 1) == Outcome("done", ours.hosts[0])


def test_a_stopped_host_is_lost_and_reads_so_when_it_wakes():
    with job(3) as ours:
        first, third = ours.start(ours.hosts[0]), ours.start(ours.hosts[2])
        child = ours.child(ours.hosts[1])
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        for link in (first, third):
            lost(
                until(lambda link=link: link.verdict),
                ours.hosts[1],
                "127.0.0.1 heard nothing from 127.0.0.2 for 1 seconds",
            )
        assert 0.7 < time.monotonic() - began < 3
        child.send_signal(signal.SIGCONT)
        assert child.verdict() == first.verdict


def test_a_host_that_slept_through_the_job_reads_the_verdict_before_it_judges():
    with job(3) as ours:
        first, third = ours.start(ours.hosts[0]), ours.start(ours.hosts[2])
        child = ours.child(ours.hosts[1])
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        third.report_outcome(failed(ours.hosts[2]))
        until(lambda: first.verdict)
        third.close()
        first.close(1.5 * SHORT.silence)
        child.send_signal(signal.SIGCONT)
        assert child.verdict() == failed(ours.hosts[2])


def test_a_stopped_first_host_is_lost_and_reads_so_when_it_wakes():
    with job(2) as ours:
        second = ours.start(ours.hosts[1])
        child = ours.child(ours.hosts[0])
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        verdict = until(lambda: second.verdict)
        lost(verdict, ours.hosts[0], f"127.0.0.2 heard nothing from {ours.hosts[0]} for 1 seconds")
        second.close()
        child.send_signal(signal.SIGCONT)
        assert child.verdict() == verdict


@pytest.mark.parametrize("number", [0, 1])
def test_a_short_stop_changes_nothing(number: int):
    with job(2) as ours:
        other = ours.start(ours.hosts[1 - number])
        child = ours.child(ours.hosts[number])
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.5 * SHORT.silence)
        child.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        other.report_outcome(Outcome("done", ours.hosts[1 - number]))
        child.tell("done")
        assert child.verdict() == until(lambda: other.verdict) == Outcome("done", ours.hosts[0])


@pytest.mark.parametrize("number", [0, 1])
def test_a_host_that_sleeps_does_not_take_the_others_for_lost(number: int):
    # The other host is more patient, so that it is the sleeper alone who could judge.
    with job(2) as ours:
        other = ours.start(ours.hosts[1 - number], deadlines=replace(SHORT, silence=2.5))
        child = ours.child(ours.hosts[number], replace(SHORT, silence=1))
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        child.send_signal(signal.SIGCONT)
        time.sleep(0.4)
        other.report_outcome(Outcome("done", ours.hosts[1 - number]))
        child.tell("done")
        assert child.verdict() == until(lambda: other.verdict) == Outcome("done", ours.hosts[0])


def test_the_first_host_may_sleep_before_the_others_are_let_in():
    with job(2) as ours:
        child = ours.child(ours.hosts[0])
        until(lambda: answers(ours.port))
        child.send_signal(signal.SIGSTOP)
        for _ in range(3):  # each leaves a connection behind that has greeted
            ours.start(ours.hosts[1]).report_outcome(failed(ours.hosts[1]))
            ours.links.pop(ours.hosts[1]).close(0)
        second = ours.start(ours.hosts[1])
        time.sleep(0.5)
        child.send_signal(signal.SIGCONT)
        child.saw("rendezvous")
        assert until(lambda: second.rendezvous)
        assert second.verdict is None


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Cable:
    """Forwards one connection until it is cut, and then carries nothing, without an end on either side."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._there, self.cut, self._over = port, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        near, _ = self._server.accept()
        with near, socket.create_connection(("127.0.0.1", self._there), source_address=("127.0.0.2", 0)) as far:
            while not self.cut.is_set():
                for side in select.select([near, far], [], [], 0.05)[0]:
                    (far if side is near else near).sendall(side.recv(65_536))
            self._over.wait(20)

    def close(self) -> None:
        self.cut.set()
        self._over.set()
        self._thread.join()
        self._server.close()


@pytest.fixture
def cabled() -> Iterator[tuple[Job, Cable]]:
    with job(2) as ours:
        first = ours.start(ours.hosts[0])
        # The cable carries one connection alone, and the first host may not listen yet.
        until(lambda: answers(ours.port))
        cable = Cable(ours.port)
        try:
            second = ours.start(ours.hosts[1], port=cable.port)
            until(lambda: first.rendezvous and second.rendezvous)
            yield ours, cable
        finally:
            cable.close()


def test_a_cut_network_ends_the_job_on_both_sides(cabled: tuple[Job, Cable]):
    ours, cable = cabled
    cable.cut.set()
    first, second = ours.verdicts(4)
    lost(first, ours.hosts[1], f"127.0.0.1 heard nothing from {ours.hosts[1]} for 1 seconds")
    lost(second, ours.hosts[0], f"127.0.0.2 heard nothing from {ours.hosts[0]} for 1 seconds")
    for verdict in (first, second):
        advice = "Start the job again; the environment variable SAGEMAKER_SSD_SILENCE_SECONDS sets another limit"
        assert verdict.sentence.endswith(advice)


def test_a_cut_network_does_not_hold_up_the_end(cabled: tuple[Job, Cable]):
    ours, cable = cabled
    cable.cut.set()
    ours.verdicts(4)
    began = time.monotonic()
    ours.links[ours.hosts[1]].close()
    ours.links[ours.hosts[0]].close(0.5)
    assert time.monotonic() - began < 2.5
