"""Cards behind the host's PCIe switches and root complexes."""

from __future__ import annotations

from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.core import Net

ROOT_CHIPS = 4
"""Cards of one root complex in a two-socket server."""


def pcie(net: Net, group: int, stride: int) -> Reach:
    """Reach over PCIe: full link rate below one root complex, half of it between two.

    Notes
    -----
    A byte climbs to the root and comes down: two hops, four when it crosses the sockets. How
    little is left in practice (peer traffic through the root complex) is a matter of measured
    fractions, not of this ideal.
    """
    crosses = group * stride > ROOT_CHIPS
    bandwidth = net.bandwidth_bytes_per_s * (0.5 if crosses else 1.0)
    hops = 4 if crosses else 2
    return Reach(
        group=group,
        ring_bytes_per_s=bandwidth,
        uniform_bytes_per_s=bandwidth,
        pair_bytes_per_s=bandwidth,
        bisection_bytes_per_s=bandwidth * (group // 2),
        neighbour_hops=2,
        diameter_hops=hops,
        mean_hops=float(hops),
    )
