"""A ring of chips: a torus of one dimension."""

from __future__ import annotations

from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.collectives.topology.torus import torus
from tokenroof.perf.core import Net


def ring(net: Net, group: int, stride: int) -> Reach:
    """Reach on a ring: a group that is not the whole ring is a line.

    Notes
    -----
    ``net.bandwidth_bytes_per_s`` counts both neighbours' links; the diameter of n chips is n // 2.
    """
    return torus(net, group, stride)
