"""Hosts of a job meet, gather values, and agree how the job ends."""

import itertools
import json
import random
import socket
import threading
import time
from typing import Any

import pytest
from link_hosts import SHORT, failed, job, until

from sagemaker_ssd.coordination.protocol import Outcome
from sagemaker_ssd.errors import PlatformError, ProgramError, UserError


@pytest.mark.parametrize("count", [2, 3])
def test_all_meet(count: int):
    with job(count) as ours:
        ours.start_all()
        found = [link.rendezvous for link in ours.links.values()]
        assert [rendezvous.address for rendezvous in found if rendezvous] == list(ours.hosts)
        (scheduler,) = {rendezvous.scheduler for rendezvous in found if rendezvous}
        assert scheduler[0] == "127.0.0.1"
        assert ours.port < scheduler[1] <= ours.port + 100


def test_the_schedulers_port_is_one_that_nobody_listens_on():
    with job(2) as ours, socket.create_server(("127.0.0.1", ours.port + 1)):
        rendezvous = ours.start_all()[0].rendezvous
        assert rendezvous is not None
        assert rendezvous.scheduler[1] == ours.port + 2


def test_the_schedulers_port_stays_reserved_until_the_job_ends():
    with job(2) as ours, job(2) as neighbours:
        ours.start_all()
        # The ports above it are the one where our first host listens, and our scheduler's, which does not listen yet.
        neighbours.port = ours.port - 1
        rendezvous = neighbours.start_all()[0].rendezvous
        assert rendezvous is not None
        assert rendezvous.scheduler[1] == ours.port + 2
        ours.close()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", ours.port + 1))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1::2])
def test_hosts_appear_late_and_in_any_order(order: tuple[int, ...]):
    with job(3) as ours:
        for number in order:
            assert all(link.rendezvous is None for link in ours.links.values())
            ours.start(ours.hosts[number])
            time.sleep(0.1)
        ours.meet()


def gathered(ours: Any, calls: list[tuple[str, str, object]]) -> dict[str, list[tuple[str, list[object]]]]:
    """Make the calls (host, name, value) and return what each host was answered, in its order."""
    answers: dict[str, list[tuple[str, list[object]]]] = {host: [] for host in ours.hosts}
    for host, name, value in calls:
        ours.links[host].all_gather(
            name, value, lambda values, host=host, name=name: answers[host].append((name, values))
        )
    until(lambda: all(len(found) == len(calls) // len(ours.hosts) for found in answers.values()))
    return answers


def test_values_come_in_the_order_of_hosts_whoever_gives_first():
    with job(3) as ours:
        ours.start_all()
        a, b, c = ours.hosts
        for order in ([a, b, c], [c, b, a], [b, c, a]):
            answers = gathered(ours, [(host, "images", {"of": host, "n": [1, 2.5, None]}) for host in order])
            wanted = [("images", [{"of": host, "n": [1, 2.5, None]} for host in ours.hosts])]
            assert answers == dict.fromkeys(ours.hosts, wanted)


def test_many_names_at_once_and_one_name_again_and_again():
    with job(3) as ours:
        ours.start_all()
        many = [(host, f"value {number}", [host, number]) for number in range(100) for host in ours.hosts]
        random.Random(1).shuffle(many)
        for found in gathered(ours, many).values():
            assert sorted(found) == sorted(
                (f"value {number}", [[host, number] for host in ours.hosts]) for number in range(100)
            )
        # One host is far ahead of the others.
        again = [(host, "epoch", number) for host in ours.hosts for number in range(20)]
        wanted = [("epoch", [number] * 3) for number in range(20)]
        assert gathered(ours, again) == dict.fromkeys(ours.hosts, wanted)


def test_gathering_before_the_meeting_waits_for_it():
    with job(2) as ours:
        answers: list[object] = []
        for host in reversed(ours.hosts):
            ours.start(host).all_gather("seed", host, answers.append)
            time.sleep(0.1)
        until(lambda: len(answers) == 2)
        assert answers == [list(ours.hosts)] * 2


def test_large_values_pass_and_too_large_or_strange_ones_are_refused_at_once():
    with job(2) as ours:
        first, second = ours.start_all()
        answers: list[object] = []
        for link in (first, second):
            link.all_gather("large", "x" * 1_000_000, lambda values: answers.append(len(values[0]) + len(values[1])))
        until(lambda: len(answers) == 2)
        assert answers == [2_000_000] * 2
        match = "the value of larger takes 1100002 characters; at most 1048576 are allowed"
        with pytest.raises(ValueError, match=match):
            second.all_gather("larger", "x" * 1_100_000, answers.append)
        with pytest.raises(TypeError):
            second.all_gather("strange", {1, 2}, answers.append)


def test_every_host_can_tell_the_boxes_of_many_classes():
    # As the train channels are compared; on a hundred hosts a line of 1 MiB had 10 kB for each.
    with job(12) as ours:
        boxes = list(range(100_000, 114_000))
        assert len(json.dumps(boxes)) > (1 << 20) / 12
        ours.start_all()
        for values in gathered(ours, [(host, "boxes", boxes) for host in ours.hosts]).values():
            assert values == [("boxes", [boxes] * 12)]


def test_done_when_all_are_done():
    with job(3) as ours:
        links = ours.start_all()
        for link, host in zip(links[:2], ours.hosts, strict=False):
            link.report_outcome(Outcome("done", host))
        time.sleep(1.3 * SHORT.silence)
        assert [link.verdict for link in links] == [None] * 3
        links[2].report_outcome(Outcome("done", ours.hosts[2]))
        assert ours.verdicts() == [Outcome("done", ours.hosts[0])] * 3
        assert ours.verdicts()[0].error(ours.hosts[1]) is None


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_first_failure_is_everybodys(number: int):
    with job(3) as ours:
        links = ours.start_all()
        ending = failed(ours.hosts[number], "annotations: no images", 1)
        links[number].report_outcome(ending)
        links[number].report_outcome(Outcome("done", ours.hosts[number]))
        assert ours.verdicts(1) == [ending] * 3
        for other in ours.hosts:
            error = ending.error(other)
            assert isinstance(error, UserError)
            here = other == ours.hosts[number]
            assert error.sentence == ("" if here else f"host {ours.hosts[number]}: ") + "annotations: no images"


@pytest.mark.parametrize(("code", "kind"), [(1, UserError), (2, PlatformError), (3, ProgramError), (9, ProgramError)])
def test_endings_as_errors(code: int, kind: type):
    assert type(failed("a", "why", code).error("a")) is kind
    error = Outcome("failed", "", code, "the link broke").error("a")
    assert error is not None
    assert error.sentence == "the link broke"


def test_waiting_ends_when_something_changes():
    with job(2) as ours:
        first, second = ours.start_all()
        first.wait(0)
        began = time.monotonic()
        first.wait(0.2)
        assert 0.15 < time.monotonic() - began < 1
        threading.Timer(0.2, second.report_outcome, [failed(ours.hosts[1])]).start()
        began = time.monotonic()
        first.wait(10)
        assert time.monotonic() - began < 2
        assert first.verdict == failed(ours.hosts[1])


def test_close_delivers_the_verdict_and_leaves_when_the_others_have():
    with job(3) as ours:
        links = ours.start_all()
        for link, host in zip(links, ours.hosts, strict=True):
            link.report_outcome(Outcome("done", host))
        until(lambda: links[0].verdict)
        closing = threading.Thread(target=links[0].close)
        closing.start()
        time.sleep(0.3)
        assert closing.is_alive(), "the coordinator left before the others"
        began = time.monotonic()
        for link in links[1:]:
            assert until(lambda link=link: link.verdict) == Outcome("done", ours.hosts[0])
            link.close()
        closing.join(1)
        assert not closing.is_alive()
        assert time.monotonic() - began < 1


def test_close_waits_only_so_long():
    with job(2) as ours:
        first, second = ours.start_all()
        first.report_outcome(failed(ours.hosts[0]))
        until(lambda: second.verdict)
        began = time.monotonic()
        first.close(0.5)
        assert 0.4 < time.monotonic() - began < 1.5


def test_a_member_that_failed_stays_until_the_others_know():
    with job(3) as ours:
        links = ours.start_all()
        links[1].report_outcome(failed(ours.hosts[1]))
        until(lambda: links[1].verdict)
        links[1].close()
        assert ours.verdicts(1) == [failed(ours.hosts[1])] * 3


def test_closing_without_a_verdict_is_a_loss_for_the_others():
    with job(2) as ours:
        first, second = ours.start_all()
        began = time.monotonic()
        second.close()
        assert time.monotonic() - began < 1
        assert second.verdict is None
        verdict = until(lambda: first.verdict)
        assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", ours.hosts[1], 2)
        for link in (first, second):  # without effect, and no error
            link.report_outcome(Outcome("done", "x"))
            link.request_stop()
            link.close(0.1)
            link.close(0.1)


@pytest.mark.parametrize("number", [0, 1])
def test_an_unexpected_exception_ends_the_job(number: int, caplog: pytest.LogCaptureFixture):
    def answer(values: list[object]) -> None:
        raise OSError("no place in the answer")

    with job(2) as ours:
        links = ours.start_all()
        for link in links:
            link.all_gather("value", 1, answer if link is links[number] else lambda values: None)
        for verdict in ours.verdicts():
            assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", "", 3)
            assert (
                f"the link of host {ours.hosts[number]} to the others broke: OSError: no place in" in verdict.sentence
            )
        assert "in answer" in caplog.text
