"""Topologies, one file each behind one seam: (fabric, group, stride) -> Reach."""

from __future__ import annotations

from tokenroof.errors import UnknownNameError
from tokenroof.perf.collectives.core import Reach, Topology
from tokenroof.perf.collectives.topology.dragonfly import dragonfly
from tokenroof.perf.collectives.topology.fat_tree import fat_tree
from tokenroof.perf.collectives.topology.full_mesh import full_mesh
from tokenroof.perf.collectives.topology.nvswitch import nvswitch
from tokenroof.perf.collectives.topology.pcie import pcie
from tokenroof.perf.collectives.topology.ring import ring
from tokenroof.perf.collectives.topology.torus import torus
from tokenroof.perf.core import Net

TOPOLOGIES: dict[str, Topology] = {
    "nvswitch": nvswitch,
    "full_mesh": full_mesh,
    "ring": ring,
    "torus2d": torus,
    "torus3d": torus,
    "fat_tree": fat_tree,
    "dragonfly": dragonfly,
    "pcie": pcie,
}


def reach(net: Net, group: int, stride: int = 1) -> Reach:
    """What a group of chips sees of a fabric.

    Parameters
    ----------
    net : Net
        The fabric.
    group, stride : int
        Members, and the distance between them in chips.

    Raises
    ------
    UnknownNameError
        No such topology.
    """
    if net.topology not in TOPOLOGIES:
        raise UnknownNameError("topology", net.topology, TOPOLOGIES)
    return TOPOLOGIES[net.topology](net, group, stride)


__all__ = ["TOPOLOGIES", "reach"]
