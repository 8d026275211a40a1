"""Two- and three-dimensional tori (TPU ICI, NeuronLink)."""

from __future__ import annotations

from functools import lru_cache
from math import prod

from tokenroof.errors import InputError
from tokenroof.perf.collectives.core import Axis, Reach
from tokenroof.perf.core import Net

_DIMENSIONS = {"ring": 1, "torus2d": 2, "torus3d": 3}
_CUBE = 4
"""Edge of the cubes that optical switches join: any multiple of it wraps on a 3D torus."""


def torus(net: Net, group: int, stride: int) -> Reach:
    """Reach of a sub-torus of ``group`` chips, as cubic as the domain's extents allow.

    Parameters
    ----------
    net : Net
        ``dims`` gives the extents; when empty, the most cubic torus of ``domain_size``.
    group, stride : int
        Members and their distance; a strided group lies across the blocks of ``stride`` chips.

    Notes
    -----
    An axis wraps when the group spans it, or, on a 3D torus, when its extent is a multiple of four
    (optically switched cubes). Interleaved groups share the links of an axis that they both cross.
    Source: scaling-book, chapter on TPUs (16x16 v5e and v6e without wrap on short axes; v4 and v5p
    wrap on multiples of 4).
    """
    dims = extents(net)
    per_axis = net.bandwidth_bytes_per_s / len(dims)
    inner, outer = block(stride, dims), block(group * stride, dims)
    if inner is None or outer is None or any(o % i for o, i in zip(outer, inner, strict=True)):
        line = Axis(extent=group, hops=stride, wraps=False, bandwidth_bytes_per_s=per_axis / stride)
        return reach_of((line,), group)
    axes = tuple(
        Axis(
            extent=whole // part,
            hops=part,
            wraps=_wraps(whole, full, len(dims)),
            bandwidth_bytes_per_s=per_axis / part,
        )
        for whole, part, full in zip(outer, inner, dims, strict=True)
        if whole > part
    )
    return reach_of(axes, group)


def reach_of(axes: tuple[Axis, ...], group: int) -> Reach:
    """Reach of a group that spans ``axes`` (at least one)."""
    longest = max(axes, key=lambda axis: axis.extent)
    lines = group // longest.extent
    cut = longest.gather_bytes_per_s * lines
    pairs = max(1, group - 1)
    mean = sum(axis.mean_steps * (axis.extent - 1) / axis.extent for axis in axes) * group / pairs
    return Reach(
        group=group,
        ring_bytes_per_s=axes[0].bandwidth_bytes_per_s if len(axes) > 1 else axes[0].gather_bytes_per_s,
        uniform_bytes_per_s=cut * (4 * pairs / group**2),
        pair_bytes_per_s=longest.bandwidth_bytes_per_s / 2,
        bisection_bytes_per_s=cut,
        neighbour_hops=min(axis.hops for axis in axes),
        diameter_hops=sum(axis.steps for axis in axes),
        mean_hops=mean,
        axes=axes,
    )


@lru_cache(maxsize=1024)
def block(chips: int, dims: tuple[int, ...]) -> tuple[int, ...] | None:
    """Extents of the most cubic sub-torus of exactly ``chips`` chips, longest first; None if there is none.

    >>> block(8, (16, 16)), block(64, (16, 20, 28)), block(17, (16, 16))
    ((4, 2), (4, 4, 4), None)
    """
    if len(dims) == 1:
        return (chips,) if chips <= dims[0] else None
    best: tuple[int, ...] | None = None
    for first in range(1, min(chips, dims[0]) + 1):
        if chips % first:
            continue
        rest = block(chips // first, dims[1:])
        if rest is None:
            continue
        extents = (first, *rest)
        if best is None or (sum(extents), -first) < (sum(best), -best[0]):
            best = extents
    return best


def extents(net: Net) -> tuple[int, ...]:
    """Extents of the whole torus, from the catalog or the most cubic ones of the domain's size.

    Raises
    ------
    InputError
        The stated extents do not multiply to the domain, or are not as many as the topology says.
    """
    count = _DIMENSIONS[net.topology]
    if not net.dims:
        found = block(net.domain_size, (net.domain_size,) * count)
        assert found is not None
        return found
    if len(net.dims) != count or prod(net.dims) < net.domain_size:
        raise InputError(
            f"fabric {net.name!r}: extents {net.dims} do not make a {net.topology} of {net.domain_size} "
            f"chips. Give {count} extents whose product is domain_size."
        )
    return net.dims


def _wraps(extent: int, full: int, dimensions: int) -> bool:
    return extent == full or (dimensions == 3 and extent % _CUBE == 0)
