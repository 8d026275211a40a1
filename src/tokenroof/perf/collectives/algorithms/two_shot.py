"""Two-shot all-reduce: a direct reduce-scatter, then a direct all-gather; also each half alone."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.core import ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER, Plan, Reach

ROUNDS = {ALL_REDUCE: 2, ALL_GATHER: 1, REDUCE_SCATTER: 1}


def shard_sent_bytes(message_bytes: Num, group: int, rounds: int) -> Num:
    """Bytes one chip sends in bandwidth-optimal collectives: rounds (n - 1)/n S. [bytes]"""
    return message_bytes * (rounds * (group - 1.0) / group)


def two_shot(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of direct exchanges of shards: as few bytes as a ring, as few rounds as possible."""
    if kind not in ROUNDS:
        return None
    rounds = ROUNDS[kind]
    sent = shard_sent_bytes(message_bytes, reach.group, rounds)
    return Plan(
        hops=rounds * reach.diameter_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=reach.uniform_bytes_per_s,
        link_bytes=sent * reach.mean_hops,
    )
