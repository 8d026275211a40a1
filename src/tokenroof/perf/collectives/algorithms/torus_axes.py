"""Torus collectives along all axes at once, both ways round each."""

from __future__ import annotations

from tokenroof.graph.core import Num
from tokenroof.perf.collectives.algorithms.two_shot import ROUNDS, shard_sent_bytes
from tokenroof.perf.collectives.core import Plan, Reach


def torus_axes(kind: str, message_bytes: Num, reach: Reach) -> Plan | None:
    """Plan of bidirectional per-axis reduce-scatters and all-gathers; None off a torus.

    Notes
    -----
    The buffer is cut into one part per axis, and each part visits the axes in a rotated order, so
    that all links are busy: bytes rounds (n - 1)/n S over the sum of the axes' bandwidths, hops
    half way round each axis in turn. An axis that does not wrap gathers at half its bandwidth.
    Source: scaling-book, "Sharded matrices" (T = V / (W_bidirectional x axes); latency of half the
    ring per axis).
    """
    if not reach.axes or kind not in ROUNDS:
        return None
    rounds = ROUNDS[kind]
    sent = shard_sent_bytes(message_bytes, reach.group, rounds)
    bandwidth = reach.axes[0].gather_bytes_per_s
    for axis in reach.axes[1:]:
        bandwidth = bandwidth + axis.gather_bytes_per_s
    return Plan(
        hops=rounds * reach.diameter_hops,
        sent_bytes=sent,
        bandwidth_bytes_per_s=bandwidth,
        link_bytes=sent * float(reach.neighbour_hops),
    )
