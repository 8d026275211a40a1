"""Algorithms, one file each behind one seam: (kind, message, reach) -> Plan or None."""

from __future__ import annotations

from tokenroof.perf.collectives.algorithms.direct import direct
from tokenroof.perf.collectives.algorithms.in_network import in_network
from tokenroof.perf.collectives.algorithms.one_shot import one_shot
from tokenroof.perf.collectives.algorithms.ring import ring
from tokenroof.perf.collectives.algorithms.send_recv import send_recv
from tokenroof.perf.collectives.algorithms.torus_axes import torus_axes
from tokenroof.perf.collectives.algorithms.tree import tree
from tokenroof.perf.collectives.algorithms.two_shot import two_shot
from tokenroof.perf.collectives.core import Algorithm

ALGORITHMS: dict[str, Algorithm] = {
    "one_shot": one_shot,
    "two_shot": two_shot,
    "ring": ring,
    "tree": tree,
    "in_network": in_network,
    "torus_axes": torus_axes,
    "direct": direct,
    "send_recv": send_recv,
}

__all__ = ["ALGORITHMS"]
