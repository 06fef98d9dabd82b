"""The host group of two supervisors over a real link: a host whose part is done waits for one that is still at work."""

import socket
import threading
import time

import pytest

from sagemaker_ssd.contract.cluster import Cluster
from sagemaker_ssd.coordination.protocol import Outcome
from sagemaker_ssd.supervisor import host_group
from sagemaker_ssd.supervisor.host_group import HostGroup
from sagemaker_ssd.supervisor.stop_flag import StopFlag

HOSTS = ("127.0.0.1", "127.0.0.2")


def test_a_host_that_is_done_waits_while_the_first_makes_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind((HOSTS[0], 0))
        monkeypatch.setenv("SAGEMAKER_SSD_PORT", str(probe.getsockname()[1]))
    # The deadline for a bug of the link, which what follows the training may exceed by far.
    monkeypatch.setattr(host_group, "_LAST_SECONDS", 0.5)
    never = StopFlag()
    first, second = (HostGroup(Cluster(hosts=HOSTS, current_host=host), "1", {}, never) for host in HOSTS)
    verdicts = {}
    waiting = threading.Thread(
        target=lambda: verdicts.update(second=second.agree_on_outcome(Outcome("done", HOSTS[1])))
    )
    try:
        assert first.rendezvous() is not None
        assert second.rendezvous() is not None
        waiting.start()
        time.sleep(2)
        assert verdicts == {}
        verdicts["first"] = first.agree_on_outcome(Outcome("done", HOSTS[0]))
        waiting.join(20)
        assert {name: verdict.kind for name, verdict in verdicts.items()} == {"first": "done", "second": "done"}
    finally:
        first.close()
        second.close()
