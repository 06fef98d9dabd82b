"""A host is asked to stop: all stop, and the first host says how the job ended."""

import signal
import time
from dataclasses import replace

import pytest
from link_hosts import SHORT, failed, job, until

from sagemaker_ssd.coordination.protocol import Outcome


def saved(host: str) -> Outcome:
    return Outcome("stopped", host)


@pytest.mark.parametrize("asked", [[0], [2], [0, 1, 2]])
def test_all_learn_of_it_and_the_first_hosts_ending_counts(asked: list[int]):
    with job(3, replace(SHORT, stop=10)) as ours:
        links = ours.start_all()
        for number in asked:
            links[number].request_stop()
            links[number].request_stop()
        for link in links:
            until(lambda link=link: link.stopping, 1)
        first = Outcome("stopped", ours.hosts[0], 2, "stopped before the first model")
        links[0].report_outcome(first)
        links[1].report_outcome(Outcome("stopped", ours.hosts[1], 0))
        time.sleep(0.3)
        assert [link.verdict for link in links] == [None] * 3
        links[2].report_outcome(Outcome("done", ours.hosts[2]))
        assert ours.verdicts(1) == [first] * 3


def test_the_first_hosts_ending_comes_late():
    with job(2, replace(SHORT, stop=10)) as ours:
        first, second = ours.start_all()
        second.request_stop()
        second.report_outcome(saved(ours.hosts[1]))
        time.sleep(0.5)
        assert (first.verdict, second.verdict) == (None, None)
        first.report_outcome(saved(ours.hosts[0]))
        assert ours.verdicts(0.5) == [saved(ours.hosts[0])] * 2


def test_another_hosts_ending_never_comes():
    with job(2) as ours:
        first, _ = ours.start_all()
        first.request_stop()
        began = time.monotonic()
        first.report_outcome(saved(ours.hosts[0]))
        assert ours.verdicts() == [saved(ours.hosts[0])] * 2
        assert time.monotonic() - began > 0.8 * SHORT.stop


def test_the_first_hosts_ending_never_comes():
    with job(2) as ours:
        first, second = ours.start_all()
        first.request_stop()
        until(lambda: second.stopping)
        second.report_outcome(saved(ours.hosts[1]))
        for verdict in ours.verdicts():
            assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", ours.hosts[0], 2)
            assert "this host's part had not ended 0.6 seconds later" in verdict.sentence


def test_a_failure_while_stopping_is_logged_and_is_none(caplog: pytest.LogCaptureFixture):
    with job(3, replace(SHORT, stop=10)) as ours:
        links = ours.start_all()
        links[0].request_stop()
        until(lambda: links[1].stopping and links[2].stopping)
        links[1].report_outcome(failed(ours.hosts[1], "a crash at the end"))
        links[2].close()  # gone without a word
        links[0].report_outcome(saved(ours.hosts[0]))
        assert [until(lambda link=link: link.verdict, 1) for link in links[:2]] == [saved(ours.hosts[0])] * 2
        assert f"While the job is stopping: host {ours.hosts[1]}: a crash at the end" in caplog.text
        assert f"While the job is stopping: host {ours.hosts[2]}: the connection to 127.0.0.1 broke off" in caplog.text


def test_a_failure_of_the_first_host_while_stopping_is_one():
    with job(2, replace(SHORT, stop=10)) as ours:
        first, second = ours.start_all()
        first.request_stop()
        until(lambda: second.stopping)
        first.report_outcome(failed(ours.hosts[0], "the model could not be written"))
        second.report_outcome(saved(ours.hosts[1]))
        assert ours.verdicts(1) == [failed(ours.hosts[0], "the model could not be written")] * 2


def test_a_stop_after_the_verdict_changes_nothing():
    with job(2) as ours:
        links = ours.start_all()
        links[1].report_outcome(failed(ours.hosts[1]))
        ours.verdicts()
        for link in links:
            link.request_stop()
        time.sleep(0.2)
        assert ours.verdicts() == [failed(ours.hosts[1])] * 2


def test_the_first_host_is_gone_while_stopping():
    with job(2) as ours:
        child = ours.child(ours.hosts[0])
        second = ours.start(ours.hosts[1])
        child.saw("rendezvous")
        second.request_stop()
        child.saw("stopping")
        second.report_outcome(saved(ours.hosts[1]))
        child.tell("exit")
        verdict = until(lambda: second.verdict)
        assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", ours.hosts[0], 2)
        assert verdict.sentence.startswith("while the job was stopping, the connection to 127.0.0.2 broke off")


def test_the_first_host_is_paused_while_stopping():
    """A container has ten seconds to stop, whatever limit is set: five of them are waited for the first host."""
    with job(2, replace(SHORT, silence=300)) as ours:
        child = ours.child(ours.hosts[0])
        second = ours.start(ours.hosts[1])
        child.saw("rendezvous")
        child.send_signal(signal.SIGSTOP)
        second.request_stop()
        verdict = until(lambda: second.verdict, 9)
        assert (verdict.kind, verdict.host, verdict.exit_code) == ("failed", ours.hosts[0], 2)
        assert verdict.sentence.startswith("while the job was stopping, 127.0.0.2 heard nothing from 127.0.0.1 for 5 s")
        assert verdict.sentence.endswith("may say more. Start the job again")
