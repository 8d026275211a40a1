"""Direct all-to-all: every chip sends a different n-th of its buffer to every other one."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.algorithms.two_shot import shard_sent_bytes
from tokenroof.perf.collectives.core import ALL_TO_ALL, Plan, Reach


def direct(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of a direct all-to-all: (n - 1)/n S sent at the fabric's uniform-traffic rate.

    Notes
    -----
    On a bidirectional ring of n chips this gives a quarter of the all-gather of the same total
    array, the scaling-book's result.
    """
    if kind != ALL_TO_ALL:
        return None
    sent = shard_sent_bytes(message_bytes, reach.group, 1)
    return Plan(
        hops=reach.diameter_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=reach.uniform_bytes_per_s,
        link_bytes=sent * reach.mean_hops,
    )
