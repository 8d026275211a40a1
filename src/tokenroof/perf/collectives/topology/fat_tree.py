"""A full-bisection tree of switches (InfiniBand, Ethernet): leaf, spine, core."""

from __future__ import annotations

from itertools import pairwise

from tokenroof.errors import InputError
from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.core import Net

RADIX = 64
"""Ports of a switch when the fabric states none (Quantum-2 and Spectrum-4 class: 64 ports)."""


def levels(endpoints: int, radix: int) -> int:
    """Switch levels that join ``endpoints`` without blocking: one switch, k^2/2, k^3/4, ...

    >>> [levels(n, 64) for n in (1, 64, 65, 2048, 2049, 65536)]
    [1, 1, 2, 2, 3, 3]
    """
    tiers, capacity = 1, radix
    while capacity < endpoints:
        tiers += 1
        capacity *= radix // 2
    return tiers


def fat_tree(net: Net, group: int, stride: int) -> Reach:
    """Reach on a fat tree: full bandwidth for any pattern, 2 levels - 1 switches at the most.

    Parameters
    ----------
    net : Net
        ``dims`` may hold one number, the switch radix; otherwise :data:`RADIX`.
    group, stride : int
        The group spans ``group * stride`` endpoints: that decides how high it climbs.

    Raises
    ------
    InputError
        The radix is below four.
    """
    radix = net.dims[0] if net.dims else RADIX
    if radix < 4:
        raise InputError(f"fabric {net.name!r}: switch radix must be at least 4, got {radix}.")
    height = levels(group * stride, radix)
    bandwidth = net.bandwidth_bytes_per_s
    # Going up t levels of k/2 ways each: the share of peers below each level gives the mean.
    below = [min(group, max(1, radix * (radix // 2) ** tier // stride)) for tier in range(height - 1)]
    reach_below = [1, *below, group]
    mean = sum((2 * tier + 1) * (high - low) for tier, (low, high) in enumerate(pairwise(reach_below))) / max(
        1, group - 1
    )
    return Reach(
        group=group,
        ring_bytes_per_s=bandwidth,
        uniform_bytes_per_s=bandwidth,
        pair_bytes_per_s=bandwidth,
        bisection_bytes_per_s=bandwidth * (group // 2),
        neighbour_hops=1 if stride < radix else 2 * levels(stride + 1, radix) - 1,
        diameter_hops=2 * height - 1,
        mean_hops=mean,
        reduces=net.in_network_reduction,
    )
