"""A single stage of crossbars that joins every chip to every other one."""

from __future__ import annotations

from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.core import Net


def nvswitch(net: Net, group: int, stride: int) -> Reach:
    """Reach on a non-blocking switch: any pattern gets the whole bandwidth, one hop away.

    Notes
    -----
    HGX boards and NVL72 racks: every chip has links to every switch, so ``stride`` is irrelevant.
    Source: facts of the InferenceX hardware tables (18 switches, one hop).
    """
    del stride
    bandwidth = net.bandwidth_bytes_per_s
    return Reach(
        group=group,
        ring_bytes_per_s=bandwidth,
        uniform_bytes_per_s=bandwidth,
        pair_bytes_per_s=bandwidth,
        bisection_bytes_per_s=bandwidth * (group // 2),
        neighbour_hops=1,
        diameter_hops=1,
        mean_hops=1.0,
        reduces=net.in_network_reduction,
    )
