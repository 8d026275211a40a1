"""Reduction in the switches (NVLS, SHARP): every chip sends its buffer once and gets the sum back."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.core import ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER, Plan, Reach


def in_network_sent_bytes(kind: str, message_bytes: Num, group: int) -> Num:
    """Bytes through one chip's port, in the busier direction. [bytes]

    Notes
    -----
    All-reduce: the chip that owns a shard reads the sum of it and multicasts it, so S/n goes out
    for the multicast and (n - 1)/n S for the others' reads: S in each direction, against
    2 (n - 1)/n S of a ring. An all-gather multicasts S/n per chip but must take in (n - 1)/n S;
    reduce-scatter is its mirror.
    """
    if kind == ALL_REDUCE:
        return message_bytes * 1.0
    return message_bytes * ((group - 1.0) / group)


def in_network(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of an in-network collective; None where the switches do not add or the group is a pair."""
    if not reach.reduces or reach.group < 3 or kind not in (ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER):
        return None
    sent = in_network_sent_bytes(kind, message_bytes, reach.group)
    return Plan(
        hops=2 * reach.diameter_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=reach.ring_bytes_per_s,
        link_bytes=sent,
    )
