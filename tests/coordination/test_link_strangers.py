"""Bytes of others at the first host's port do no harm."""

import contextlib
import json
import os
import socket
import time

import pytest
from link_hosts import Job, job, until

from sagemaker_ssd.coordination.protocol import Outcome

HANDSHAKE = {
    "kind": "greeting",
    "protocol": "sagemaker-ssd-hosts",
    "number": 1,
    "job": "job",
    "hosts": ["127.0.0.1", "127.0.0.2"],
    "host": "127.0.0.2",
    "version": "1.0",
    "configuration": None,
}


def line(**changes: object) -> bytes:
    return json.dumps(HANDSHAKE | changes).encode() + b"\n"


def send(ours: Job, data: bytes) -> None:
    """Send bytes and wait until the other side closes."""
    with socket.create_connection(("127.0.0.1", ours.port), timeout=5) as stranger, contextlib.suppress(OSError):
        stranger.sendall(data)
        while stranger.recv(65_536):
            pass


def open_job(ours: Job) -> None:
    ours.start(ours.hosts[0])

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", ours.port)) == 0

    until(listening)


def goes_on(ours: Job) -> None:
    ours.start(ours.hosts[1])
    ours.meet()
    for host, link in ours.links.items():
        link.report_outcome(Outcome("done", host))
    assert ours.verdicts() == [Outcome("done", ours.hosts[0])] * 2


@pytest.mark.parametrize(
    "data",
    [
        os.urandom(5000) + b"\n",
        b"GET / HTTP/1.1\r\nHost: algo-1\r\n\r\n",
        b"\n\n\n",
        b"[]\n",
        b"null\n",
        b"[" * 100_000 + b"\n",
        b'{"kind": 1}\n',
        b'{"kind": "beat"}\n',
        b'{"kind": "end", "ending": {"kind": "failed", "host": "", "exit_code": 3, "sentence": "x"}}\n',
        line(protocol="other"),
        line(number="1"),
        line(hosts="127.0.0.1"),
        line(hosts=[1, 2]),
        line(host=None),
        line(configuration=1),
        b"\xff\xfe{}\n",
    ],
    ids=range(16),
)
def test_what_is_no_greeting_is_closed_with_a_warning(data: bytes, caplog: pytest.LogCaptureFixture):
    with job(2) as ours:
        open_job(ours)
        caplog.clear()
        send(ours, data)
        warnings = [record.message for record in caplog.records if "it sent something" in record.message]
        assert len(warnings) == 1
        assert warnings[0].startswith("A stranger at 127.0.0.1:")
        assert warnings[0].isprintable()
        goes_on(ours)


def test_an_endless_line_is_cut_off(caplog: pytest.LogCaptureFixture):
    with job(2) as ours:
        open_job(ours)
        send(ours, b"x" * 8_000_000)
        assert "it sent a line that is too long" in caplog.text
        goes_on(ours)


def test_who_says_nothing_is_put_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("sagemaker_ssd.coordination.listener.HANDSHAKE_SECONDS", 0.3)
    with job(2) as ours:
        open_job(ours)
        began = time.monotonic()
        send(ours, b"")
        send(ours, b'{"kind": "gree')
        assert 0.5 < time.monotonic() - began < 4
        assert caplog.text.count("it has not said within 0.3 seconds who it is") == 2
        goes_on(ours)


def test_a_greeting_alone_is_not_a_host(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sagemaker_ssd.coordination.listener.HANDSHAKE_SECONDS", 0.3)
    with job(2) as ours:
        open_job(ours)
        send(ours, line())
        with socket.create_connection(("127.0.0.1", ours.port)) as gone:
            gone.sendall(line())
        goes_on(ours)


def test_many_strangers_do_not_keep_a_host_out(caplog: pytest.LogCaptureFixture):
    with job(2) as ours, contextlib.ExitStack() as strangers:
        open_job(ours)
        for _ in range(150):
            strangers.enter_context(socket.create_connection(("127.0.0.1", ours.port)))
        goes_on(ours)
        assert "64 others wait too" in caplog.text
        assert caplog.text.count("A stranger at") == 50
        assert caplog.text.count("further ones are not logged") == 1


def test_a_host_that_turns_to_nonsense_is_lost():
    with job(2) as ours, socket.socket() as host:
        open_job(ours)
        host.bind(("127.0.0.2", 0))
        host.connect(("127.0.0.1", ours.port))
        host.sendall(line() + b'{"kind": "here"}\n')
        first = ours.links[ours.hosts[0]]
        until(lambda: first.rendezvous)
        host.sendall(b'{"kind": "dance"}\n')
        verdict = until(lambda: first.verdict, 1)
        assert (verdict.host, verdict.exit_code) == (ours.hosts[1], 2)
        assert "broke off (it sent a message that is not known here)" in verdict.sentence


def test_a_first_host_that_does_not_answer_at_once_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sagemaker_ssd.coordination.participant.HANDSHAKE_SECONDS", 0.2)
    with job(2) as ours:
        # Something that takes connections and says nothing, as a host that is paused does.
        with socket.create_server((ours.hosts[0], ours.port)):
            second = ours.start(ours.hosts[1])
            time.sleep(1)
        ours.start(ours.hosts[0])
        assert until(lambda: second.rendezvous)
