"""Fully connected local groups, joined by global links (Groq C2C, TPU 8i Boardfly)."""

from __future__ import annotations

from tokenroof.errors import InputError
from tokenroof.perf.collectives.core import Reach
from tokenroof.perf.core import Net

LOCAL_CHIPS = 8
"""Chips of a local group when the fabric states none (Groq nodes: 8 chips, fully connected)."""


def dragonfly(net: Net, group: int, stride: int) -> Reach:
    """Reach on a balanced dragonfly: local, global, local, at most three hops.

    Parameters
    ----------
    net : Net
        ``dims`` may hold one number, the chips of a local group; otherwise :data:`LOCAL_CHIPS`.
    group, stride : int
        A group that fits a local group stays in its full mesh.

    Raises
    ------
    InputError
        A local group of fewer than two chips.

    Notes
    -----
    With a chips per group, each has a - 1 local links and h = a/2 global ones of equal rate
    (balanced: a = 2h). Under uniform traffic a byte that leaves its group takes two local hops and
    a global one, so chips inject at most the rate of their global links over the share that leaves.
    Source: Kim et al., "Technology-Driven, Highly-Scalable Dragonfly Topology", ISCA 2008.
    """
    local = net.dims[0] if net.dims else LOCAL_CHIPS
    if local < 2:
        raise InputError(
            f"fabric {net.name!r}: a dragonfly's local group needs 2 chips or more, got {local}."
        )
    links = local - 1 + local // 2
    link = net.bandwidth_bytes_per_s / links
    if group * stride <= local:
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
    inside = max(1, local // stride)
    leaving = (group - inside) / (group - 1)
    outward = link * (local // 2)
    return Reach(
        group=group,
        ring_bytes_per_s=outward,
        uniform_bytes_per_s=outward / leaving,
        pair_bytes_per_s=link,
        bisection_bytes_per_s=outward * (group // 2) / 2,
        neighbour_hops=1 if stride == 1 else 3,
        diameter_hops=3,
        mean_hops=(1.0 - leaving) + 3.0 * leaving,
    )
