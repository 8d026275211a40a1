"""One-shot all-reduce: every chip sends its whole buffer to every other one and adds up alone."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.core import ALL_REDUCE, Plan, Reach


def one_shot_sent_bytes(message_bytes: Num, group: int) -> Num:
    """Bytes one chip sends: (n - 1) S. [bytes]"""
    return message_bytes * (group - 1.0)


def one_shot(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of a one-shot all-reduce: one round, n - 1 copies; wins when latency is all."""
    if kind != ALL_REDUCE:
        return None
    sent = one_shot_sent_bytes(message_bytes, reach.group)
    return Plan(
        hops=reach.diameter_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=reach.uniform_bytes_per_s,
        link_bytes=sent * reach.mean_hops,
    )
