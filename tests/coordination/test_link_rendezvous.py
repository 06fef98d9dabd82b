"""What ends a job before its hosts have met: hosts that never come, failures, refusals, a port in use."""

import logging
import re
import socket
import threading
import time
from dataclasses import replace

import pytest
from link_hosts import NAMELESS, SHORT, failed, handshake, job, names, port_that_is_free, until

from sagemaker_ssd.contract.environment import Deadlines
from sagemaker_ssd.coordination.link import Link
from sagemaker_ssd.coordination.protocol import Outcome

IMPATIENT = replace(SHORT, hosts=0.6, late=0.3)


def test_the_first_host_names_who_has_not_come(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3", NAMELESS)
    deadlines = replace(IMPATIENT, hosts=1)
    first, second = (
        Link(handshake(host, hosts), deadlines, port) for port in [port_that_is_free()] for host in hosts[:2]
    )
    try:
        for link in (first, second):
            link.start()
        verdict = until(lambda: first.verdict)
        assert verdict == until(lambda: second.verdict)
        assert (verdict.kind, verdict.exit_code) == ("failed", 2)
        assert verdict.sentence == (
            "the job's hosts have not met within 1 seconds: 127.0.0.3 has not connected; algo..1 has not "
            "connected, and its name does not resolve. The own log of each missing host says more; environment "
            "variable SAGEMAKER_SSD_HOSTS_SECONDS raises the limit"
        )
        assert verdict.error("127.0.0.2").sentence == verdict.sentence
        assert "Waiting for other hosts: 127.0.0.3 has not connected; algo..1 has not" in caplog.text
    finally:
        second.close()
        first.close(0.1)


@pytest.mark.parametrize(
    ("first", "known"),
    [
        ("127.0.0.1", "nothing answers at 127.0.0.1:PORT (Connection refused)"),
        ("localhost", "nothing answers at 127.0.0.1:PORT, the address of localhost (Connection refused)"),
        (NAMELESS, f"{NAMELESS} is not reached, because its name does not resolve"),
        (
            "::1",
            "::1 is not reached, because its name has IPv6 addresses only, and MXNet's parameter server needs an IPv4 "
            "address",
        ),
    ],
)
def test_another_host_says_why_it_does_not_reach_the_first(first: str, known: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    port = port_that_is_free()
    link = Link(handshake("127.0.0.2", (first, "127.0.0.2")), IMPATIENT, port)
    link.start()
    try:
        verdict = until(lambda: link.verdict)
        assert (verdict.kind, verdict.exit_code) == ("failed", 2)
        known = known.replace("PORT", str(port))
        assert f"have not met within 0.6 seconds: {known}. The own log" in verdict.sentence
        assert f"Waiting for other hosts: {known}" in caplog.text
    finally:
        link.close(0.1)


def sentence_of_first_host(first: str, second: str = "127.0.0.2") -> str:
    link = Link(handshake(first, (first, second)), IMPATIENT, port_that_is_free())
    link.start()
    try:
        return until(lambda: link.verdict).sentence
    finally:
        link.close(0.1)


def test_a_first_host_without_an_address_says_so():
    sentence = sentence_of_first_host(NAMELESS)
    assert f"{NAMELESS}, this host, finds no address of its own, because its name does not resolve; 127" in sentence
    assert "127.0.0.2 has not connected" in sentence


def test_a_first_host_whose_name_is_a_loopback_address_says_so():
    sentence = sentence_of_first_host("localhost", NAMELESS)
    assert (
        "localhost, this host, finds no address of its own, because its name resolves to 127.0.0.1, a loopback "
        "address, and no other host's name resolves, by which its address on the network could be told; "
        f"{NAMELESS} has not connected, and its name does not resolve. The own log" in sentence
    )


def test_a_first_host_that_still_looks_for_its_address_says_so(monkeypatch: pytest.MonkeyPatch):
    answer = threading.Event()
    late = [(0, 0, 0, "", ("10.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: late if answer.wait(20) else [])
    try:
        sentence = sentence_of_first_host("algo-1")
    finally:
        answer.set()
    assert "algo-1, this host, has not found its own address yet; 127.0.0.2 has not connected" in sentence


def test_hosts_whose_every_lookup_takes_longer_than_one_waits_for_it_meet(monkeypatch: pytest.MonkeyPatch):
    addresses = {"algo-1": "127.0.0.1", "algo-2": "127.0.0.2"}

    def look_up(name: str, *_: object) -> list[tuple[object, ...]]:
        time.sleep(6)
        return [(0, 0, 0, "", (addresses[name], 0))]

    port, hosts = port_that_is_free(), tuple(addresses)
    links = [Link(handshake(host, hosts), replace(SHORT, hosts=40), port) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        for link in links:
            link.start()
        for link in links:
            until(lambda link=link: link.rendezvous or link.verdict, 45)
        assert [link.verdict for link in links] == [None, None]
    finally:
        for link in reversed(links):
            link.close(0.2)


def test_a_host_that_no_resolver_answers_for_is_told_as_that(monkeypatch: pytest.MonkeyPatch):
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(0, 0, 0, "", ("10.0.0.1", 0))] if answer.wait(20) else [])
    try:
        sentence = sentence_of_first_host("127.0.0.1", "algo-2")
    finally:
        answer.set()
    told = r"algo-2 has not connected, and the resolver has not answered for its name in (\d+(\.\d)?) seconds\. The own"
    found = re.search(told, sentence)
    assert found is not None, sentence
    # Three seconds each time that the host is described.
    assert 3 <= float(found.group(1)) < 12


def test_the_first_host_fails_and_a_late_host_learns_of_it():
    with job(3, replace(SHORT, late=10)) as ours:
        first = ours.start(ours.hosts[0])
        first.report_outcome(failed(ours.hosts[0]))
        until(lambda: first.verdict)
        second = ours.start(ours.hosts[1])
        assert until(lambda: second.verdict) == failed(ours.hosts[0])
        second.close()
        closing = threading.Thread(target=first.close)
        closing.start()
        time.sleep(0.5)
        third = ours.start(ours.hosts[2])
        assert until(lambda: third.verdict) == failed(ours.hosts[0])
        third.close()
        began = time.monotonic()
        closing.join()
        assert time.monotonic() - began < 0.5, "all had come and gone"


def test_the_first_host_waits_for_late_hosts_only_so_long():
    with job(2) as ours:
        first = ours.start(ours.hosts[0])
        first.report_outcome(failed(ours.hosts[0]))
        until(lambda: first.verdict)
        began = time.monotonic()
        first.close()
        assert SHORT.late < time.monotonic() - began < SHORT.late + 1


def test_another_host_fails_before_all_have_met():
    with job(3, replace(SHORT, late=10)) as ours:
        first, second = ours.start(ours.hosts[0]), ours.start(ours.hosts[1])
        second.report_outcome(failed(ours.hosts[1]))
        assert ours.verdicts(3) == [failed(ours.hosts[1])] * 2
        second.close()
        third = ours.start(ours.hosts[2])
        assert until(lambda: third.verdict) == failed(ours.hosts[1])
        third.close()
        began = time.monotonic()
        first.close()
        assert time.monotonic() - began < 0.5


def test_another_host_fails_before_the_first_is_there():
    with job(2, replace(SHORT, late=10)) as ours:
        second = ours.start(ours.hosts[1])
        second.report_outcome(failed(ours.hosts[1]))
        time.sleep(0.7)
        assert second.verdict is None
        first = ours.start(ours.hosts[0])
        assert ours.verdicts(3) == [failed(ours.hosts[1])] * 2
        second.close()
        began = time.monotonic()
        first.close()
        assert time.monotonic() - began < 0.5


def test_another_host_fails_and_the_first_never_comes():
    with job(2) as ours:
        second = ours.start(ours.hosts[1])
        began = time.monotonic()
        second.report_outcome(failed(ours.hosts[1]))
        assert until(lambda: second.verdict) == failed(ours.hosts[1])
        assert SHORT.late * 0.8 < time.monotonic() - began < SHORT.late + 1


def test_hosts_that_fail_each_for_themselves_keep_their_own_sentences():
    with job(2) as ours:
        for host in ours.hosts:
            ours.start(host).report_outcome(failed(host, f"fault of {host}"))
        assert ours.verdicts() == [failed(host, f"fault of {host}") for host in ours.hosts]


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        (
            {"job": "other"},
            1,
            "this host belongs to the job 'other', and 127.0.0.1 to the job 'job'.*SAGEMAKER_SSD_PORT",
        ),
        ({"hosts": names(3)}, 1, r'the hosts in .* are \["127.0.0.1", "127.0.0.2", "127.0.0.3"\] on this host and'),
        ({"host": "127.0.0.9"}, 1, "this host is '127.0.0.9', which is not one of those that 127.0.0.1 waits for"),
    ],
)
def test_strays_are_refused_and_the_job_goes_on(changes: dict[str, object], code: int, sentence: str):
    with job(2) as ours:
        first = ours.start(ours.hosts[0])
        stray = ours.start(ours.hosts[1], **changes)
        refused(stray, code, sentence)
        stray.close()
        assert first.verdict is None
        ours.start(ours.hosts[1])
        ours.meet()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": "2.0"}, "this host runs version '2.0' of this program, and 127.0.0.1 runs '1.0'"),
        ({"configuration": "other"}, "the hyperparameters of this host are not those of 127.0.0.1"),
    ],
)
def test_a_host_of_the_job_that_cannot_take_part_ends_it(changes: dict[str, object], sentence: str):
    with job(3, replace(SHORT, late=10)) as ours:
        first, third = ours.start(ours.hosts[0]), ours.start(ours.hosts[2])
        second = ours.start(ours.hosts[1], **changes)
        for link in (first, second, third):
            refused(link, 1, sentence)
            assert link.verdict is not None
            assert link.verdict.host == ours.hosts[1]
        second.close()
        third.close()
        began = time.monotonic()
        first.close()
        assert time.monotonic() - began < 0.5


def refused(link: Link, code: int, sentence: str) -> None:
    verdict = until(lambda: link.verdict)
    assert (verdict.kind, verdict.exit_code) == ("failed", code)
    assert re.search(sentence, verdict.sentence)


@pytest.mark.parametrize("digests", [(None, "other"), ("digest", None), (None, None)])
def test_unknown_hyperparameters_are_not_compared(digests: tuple[str | None, str | None]):
    with job(2) as ours:
        for host, digest in zip(ours.hosts, digests, strict=True):
            ours.start(host, configuration=digest)
        ours.meet()


def test_a_second_host_of_the_same_name_is_refused():
    with job(2) as ours:
        first, second = ours.start_all()
        twin = Link(handshake(ours.hosts[1], ours.hosts), SHORT, ours.port)
        twin.start()
        refused(twin, 2, "a host of the name '127.0.0.2' is connected to 127.0.0.1 already")
        twin.close()
        assert (first.verdict, second.verdict) == (None, None)


def test_a_port_in_use_ends_the_job_at_once():
    with job(2) as ours, socket.create_server(("127.0.0.1", ours.port)):
        first = ours.start(ours.hosts[0])
        verdict = until(lambda: first.verdict, 1)
        assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", "127.0.0.1", 1)
        assert f"127.0.0.1, port {ours.port}: Address already in use" in verdict.sentence
        assert "SAGEMAKER_SSD_PORT" in verdict.sentence
        began = time.monotonic()
        first.close()
        assert time.monotonic() - began < 0.5


def test_an_address_that_is_not_this_machines_ends_the_job_at_once():
    link = Link(handshake("192.0.2.1", ("192.0.2.1", "192.0.2.2")), SHORT, port_that_is_free())
    link.start()
    try:
        assert "Cannot assign requested address" in until(lambda: link.verdict, 1).sentence
    finally:
        link.close()


def test_the_last_port_leaves_none_for_the_parameter_server():
    with job(2) as ours:
        links = [ours.start(host, port=65_535) for host in ours.hosts]
        for link in links:
            assert (
                "needs a port above 65535 at 127.0.0.1, and there is none"
                in until(lambda link=link: link.verdict).sentence
            )


def test_a_program_that_does_not_answer_is_not_taken_for_the_first_host():
    deadlines = Deadlines(hosts=0.6, silence=1)
    with job(2, deadlines) as ours, socket.create_server(("127.0.0.1", ours.port)) as server:
        second = ours.start(ours.hosts[1])
        while second.verdict is None:
            server.settimeout(0.1)
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        sentence = until(lambda: second.verdict).sentence
        assert f"what answers at 127.0.0.1:{ours.port} does not let this host in (it sent something that" in sentence


def test_stopped_before_all_have_met():
    with job(3, replace(SHORT, stop=60)) as ours:
        first, second = ours.start(ours.hosts[0]), ours.start(ours.hosts[1])
        time.sleep(0.3)
        second.request_stop()
        until(lambda: first.stopping)
        ending = Outcome("stopped", ours.hosts[0], 2, "stopped before the first model")
        second.report_outcome(Outcome("stopped", ours.hosts[1], 2, "stopped too"))
        first.report_outcome(ending)
        assert ours.verdicts(1) == [ending] * 2
        second.close()
        began = time.monotonic()
        first.leave()
        # A host that comes a moment later learns of it.
        third = ours.start(ours.hosts[2])
        assert until(lambda: third.verdict) == ending
        third.close()
        assert first.left(5)
        assert time.monotonic() - began < 5


def test_stopped_before_the_first_host_is_there():
    with job(2) as ours:
        second = ours.start(ours.hosts[1])
        second.request_stop()
        until(lambda: second.stopping)
        ending = Outcome("stopped", ours.hosts[1], 2, "stopped")
        second.report_outcome(ending)
        assert until(lambda: second.verdict, SHORT.late + 1) == ending
