"""Every chip has its own link to every other one."""

from __future__ import annotations

from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.core import Net


def full_mesh(net: Net, group: int, stride: int) -> Reach:
    """Reach on a full mesh: a group uses only the links between its members.

    Notes
    -----
    With D chips in the domain a pair owns 1/(D - 1) of a chip's bandwidth, and a group of n uses
    (n - 1)/(D - 1) of it, with edge-disjoint rings or directly. MI300X: 7 links of 64 GB/s, so two
    chips see 64 GB/s and eight see 448 GB/s.
    """
    del stride
    link = net.bandwidth_bytes_per_s / max(1, net.domain_size - 1)
    usable = link * (group - 1)
    return Reach(
        group=group,
        ring_bytes_per_s=usable,
        uniform_bytes_per_s=usable,
        pair_bytes_per_s=link,
        bisection_bytes_per_s=link * ((group // 2) * (group - group // 2)),
        neighbour_hops=1,
        diameter_hops=1,
        mean_hops=1.0,
    )
