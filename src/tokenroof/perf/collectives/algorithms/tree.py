"""Double binary tree all-reduce: logarithmic depth, every chip sends the buffer about twice."""

from __future__ import annotations

from math import ceil, log2

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.core import ALL_REDUCE, Plan, Reach


def tree(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of a pipelined double binary tree: 2 ceil(log2 n) steps, 2 S sent.

    Notes
    -----
    Each of two complementary trees carries half the buffer, up and down, so that a chip sends
    close to 2 S in all. Steps are charged the mean distance between members. Source: Sanders,
    Speck and Traeff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", 2009.
    """
    if kind != ALL_REDUCE:
        return None
    sent = message_bytes * 2.0
    return Plan(
        hops=2 * ceil(log2(max(2, reach.group))) * reach.mean_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=reach.uniform_bytes_per_s,
        link_bytes=sent * reach.mean_hops,
    )
