"""Cards behind the host's PCIe switches and root complexes."""

from __future__ import annotations

from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.core import Net

ROOT_CHIPS = 4
"""Cards of one root complex in a two-socket server."""


def pcie(net: Net, group: int, stride: int) -> Reach:
    """Reach over PCIe: the link's rate for every card, one hop below a root complex, two between them.

    Notes
    -----
    One hop is one root complex or switch; two when the byte crosses the sockets. How
    much of the rate is left when eight cards talk through their root complexes is a matter of
    measured fractions, not of this ideal: 4 % on L40S servers, 75 % on Arc B60 ones.
    """
    crosses = group * stride > ROOT_CHIPS
    bandwidth = net.bandwidth_bytes_per_s
    hops = 2 if crosses else 1
    return Reach(
        group=group,
        ring_bytes_per_s=bandwidth,
        uniform_bytes_per_s=bandwidth,
        pair_bytes_per_s=bandwidth,
        bisection_bytes_per_s=bandwidth * (group // 2),
        neighbour_hops=1,
        diameter_hops=hops,
        mean_hops=float(hops),
    )
