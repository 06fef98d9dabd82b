"""The sentences about hosts that were lost or never came."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from sagemaker_ssd.contract.environment import HOSTS_VARIABLE, SILENCE_VARIABLE
from sagemaker_ssd.coordination.addresses import Resolver, is_address
from sagemaker_ssd.coordination.protocol import Outcome

_RESOLVE_SECONDS: Final = 3.0


def connection_lost(host: str, observer: str, reason: str, *, stopping: bool = False) -> Outcome:
    """Return the end of a job whose `host` is gone without a word, as its connection's other side sees it."""
    when = "while the job was stopping, " if stopping else ""
    until = "before it had said how the job ended" if stopping else "before it had said how it ended"
    return _lost(
        host,
        f"{when}the connection to {observer} broke off ({reason}) {until}. Its container or machine was ended or "
        f"crashed, or the network failed: the log of {host} may say more. Start the job again",
    )


def heartbeat_timeout(host: str, observer: str, seconds: float, *, stopping: bool = False) -> Outcome:
    """Return the end of a job whose `host` was not heard from for too long; stopping: where no variable sets that."""
    when = "while the job was stopping, " if stopping else ""
    advice = "" if stopping else f"; the environment variable {SILENCE_VARIABLE} sets another limit"
    return _lost(
        host,
        f"{when}{observer} heard nothing from {host} for {seconds:g} seconds. Its machine hangs or is paused, or the "
        f"network is cut: the log of {host} may say more. Start the job again{advice}",
    )


def never_stopped(host: str, seconds: float) -> Outcome:
    """Return the end of a job whose first host did not end when asked to."""
    return _lost(host, f"the job was asked to stop, and this host's part had not ended {seconds:g} seconds later")


def _lost(host: str, sentence: str) -> Outcome:
    return Outcome("failed", host, 2, sentence)


def rendezvous_timeout(seconds: float, what_is_known: str) -> Outcome:
    """Return the end of a job whose hosts have not met in time."""
    return Outcome(
        "failed",
        "",
        2,
        f"the job's hosts have not met within {seconds:g} seconds: {what_is_known}. The own log of each missing host "
        f"says more; environment variable {HOSTS_VARIABLE} raises the limit",
    )


async def describe_missing(hosts: Sequence[str], rejected: Mapping[str, str], resolver: Resolver) -> str:
    """Say what the first host knows of hosts that have not come; `rejected` holds why one was turned away."""
    addresses = await asyncio.gather(*(resolver.resolve(host, _RESOLVE_SECONDS) for host in hosts))
    return "; ".join(
        f"{host} was refused: {rejected[host]}" if host in rejected else _describe(host, *found)
        for host, found in zip(hosts, addresses, strict=True)
    )


def _describe(host: str, address: str, why_unknown: str) -> str:
    if not address:
        return f"{host} has not connected, and {why_unknown}"
    return f"{host} has not connected" + ("" if is_address(host) else f" (its name resolves to {address})")
