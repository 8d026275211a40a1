"""Ring collectives: n - 1 neighbour steps per round (all-reduce is two rounds)."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.algorithms.two_shot import ROUNDS, shard_sent_bytes
from tokenroof.perf.collectives.core import Plan, Reach


def ring(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of a ring: the fewest bytes, the most hops.

    Notes
    -----
    Latency rounds (n - 1) hops, bytes rounds (n - 1)/n S. Source: Patarasuk and Yuan, "Bandwidth
    optimal all-reduce algorithms for clusters of workstations", JPDC 2009.
    """
    if kind not in ROUNDS:
        return None
    rounds = ROUNDS[kind]
    sent = shard_sent_bytes(message_bytes, reach.group, rounds)
    return Plan(
        hops=rounds * (reach.group - 1) * reach.neighbour_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=reach.ring_bytes_per_s,
        link_bytes=sent * reach.neighbour_hops,
    )
