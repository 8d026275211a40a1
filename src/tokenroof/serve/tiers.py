"""Offload tiers below the HBM of replicas: what each holds, least recently used first, and its link.

What is modelled, and from whom:

- *Inclusive*: a unit that is loaded back stays in the tier and counts as just used. LMCache's storage
  backends, vLLM's OffloadingConnector (``prepare_load`` references a block, nothing removes it), SGLang's
  HiCache and the Mooncake store all keep their copy; none of them moves it.
- *Write-through*: tiers get a unit when it has been computed, and again, if they have lost it, when
  another request uses it (LMCache's ``batched_put`` to all backends; vLLM: "always offload to all tiers";
  HiCache's default). A tier that is not write-through gets what the one above it evicts (HiCache's
  ``write_back``); a write-through tier has had that already. What the last one evicts is lost.
- *Staging*: a unit loaded from a lower tier is kept in the nearest one, too (LMCache puts it into its
  CPU backend, vLLM and HiCache go through host memory anyway).
- *Links*: ``bytes_per_s`` is of the whole way into one replica. Each replica has its own link to each
  tier, which serves one load after another; links of different tiers work at the same time. A shared
  store is spread over the pool's nodes, so its bandwidth grows with them and replicas do not wait for
  each other. Writes are asynchronous, in the other direction, and delay nothing.

A list is a ring through the records of a row: record 0 is its ends, the unit ``u`` is record ``u + 1``.
All zeros is the empty ring, so rows cost no memory until they are touched.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve.core import CacheTier
from tokenroof.serve.jit import jit

Array = npt.NDArray[Any]

LINKS = np.dtype([("prev", "i4"), ("next", "i4")])
"""Neighbours in a ring; ``next`` of record 0 is the least recently used."""

TIER = np.dtype(
    [
        ("units", "i8"),  # capacity of one of its rows
        ("unit_bytes", "f8"),
        ("unit_s", "f8"),  # on the link
        ("latency_s", "f8"),
        ("write_through", "i8"),
        ("shared", "i8"),
    ]
)

LINK = np.dtype(
    [
        ("free_s", "f8"),  # when its last load leaves it
        ("busy_s", "f8"),
        ("loaded_bytes", "f8"),
        ("stored_bytes", "f8"),
    ]
)


class TierArrays(NamedTuple):
    """Tiers of a pool. Shapes: T tiers, R replicas, H units.

    ``tier`` (T,) of ``TIER``, nearest first; ``row`` (T, R): where the content that replica r sees in tier t
    lies (one row for all if the tier is shared); ``place`` (rows, H + 1) of ``LINKS``; ``filled`` (rows,):
    units held; ``link`` (T, R) of ``LINK``.
    """

    tier: Array
    row: Array
    place: Array
    filled: Array
    link: Array


def make_tiers(
    tiers: tuple[CacheTier, ...], *, replicas: int, units: int, unit_blocks: int, block_bytes: float
) -> TierArrays:
    """Empty tiers.

    Parameters
    ----------
    tiers : tuple of CacheTier
        Nearest first; those of single replicas before the shared ones.
    replicas, units : int
        R and H.
    unit_blocks : int
        Blocks of a unit.
    block_bytes : float
        Bytes of a block, all chips of a replica together. [bytes]

    Raises
    ------
    InputError
        A tier without bandwidth, of negative size or latency, a shared one above one that is not, or
        blocks without bytes.
    """
    for above, tier in zip((None, *tiers), tiers, strict=False):
        _check(above, tier)
    if tiers and not 0.0 < block_bytes < float("inf"):
        raise InputError(f"a cache with tiers needs block_bytes above 0, got {block_bytes!r}.")
    row = np.zeros((len(tiers), replicas), np.int64)
    rows = 0
    for level, tier in enumerate(tiers):
        own = 1 if tier.shared else replicas
        row[level] = rows + np.arange(replicas) % own
        rows += own
    unit_bytes = unit_blocks * block_bytes
    table = np.zeros(len(tiers), TIER)
    for level, tier in enumerate(tiers):
        table[level] = (
            tier.blocks // unit_blocks,
            unit_bytes,
            unit_bytes / tier.bytes_per_s,
            tier.latency_s,
            tier.write_through,
            tier.shared,
        )
    return TierArrays(
        tier=table,
        row=row,
        place=np.zeros((rows, units + 1), LINKS) if tiers else np.zeros((1, 1), LINKS),
        filled=np.zeros(max(rows, 1), np.int64),
        link=np.zeros((len(tiers), replicas), LINK),
    )


def _check(above: CacheTier | None, tier: CacheTier) -> None:
    what = f"cache tier {tier.name!r}"
    if tier.blocks < 0:
        raise InputError(f"{what}: blocks must be at least 0, got {tier.blocks}.")
    if not 0.0 < tier.bytes_per_s < float("inf"):
        raise InputError(f"{what}: bytes_per_s must be above 0 and finite, got {tier.bytes_per_s!r}.")
    if not 0.0 <= tier.latency_s < float("inf"):
        raise InputError(f"{what}: latency_s must be at least 0 and finite, got {tier.latency_s!r}.")
    if above is not None and above.shared and not tier.shared:
        raise InputError(f"{what} is not shared but lies below {above.name!r}, which is. Put it above.")


@jit
def append(ring: Array, row: int, node: int) -> None:
    """``node`` becomes the most recently used of a ring."""
    last = ring[row, 0]["prev"]
    ring[row, node]["prev"] = last
    ring[row, node]["next"] = 0
    ring[row, last]["next"] = node
    ring[row, 0]["prev"] = node


@jit
def remove(ring: Array, row: int, node: int) -> None:
    """``node`` leaves a ring."""
    before, after = ring[row, node]["prev"], ring[row, node]["next"]
    ring[row, before]["next"] = after
    ring[row, after]["prev"] = before
    ring[row, node]["prev"] = 0
    ring[row, node]["next"] = 0


@jit
def listed(ring: Array, row: int, node: int) -> bool:
    """Whether ``node`` is in a ring (in which nothing but neighbours is written)."""
    if ring[row, node]["prev"] != 0 or ring[row, node]["next"] != 0:
        return True
    first: int = ring[row, 0]["next"]
    return first == node


@jit
def nearest(t: TierArrays, r: int, node: int) -> int:
    """Number of the first tier of replica ``r`` that has a unit, or -1."""
    for level in range(t.tier.size):
        if listed(t.place, t.row[level, r], node):
            return level
    return -1


@jit
def put(t: TierArrays, level: int, r: int, node: int) -> None:
    """A unit of replica ``r`` comes to a tier; what has to leave goes to the next, at last nowhere."""
    while level < t.tier.size:
        row = t.row[level, r]
        if listed(t.place, row, node):
            remove(t.place, row, node)
            append(t.place, row, node)
            return
        units = t.tier[level]["units"]
        if units > 0:
            append(t.place, row, node)
            t.filled[row] += 1
            t.link[level, r]["stored_bytes"] += t.tier[level]["unit_bytes"]
            if t.filled[row] <= units:
                return
            node = t.place[row, 0]["next"]
            remove(t.place, row, node)
            t.filled[row] -= 1
        level += 1
        if level < t.tier.size and t.tier[level]["write_through"] != 0:
            return  # it had its own copy from the beginning


@jit
def write_through(t: TierArrays, r: int, node: int) -> None:
    """A unit is in use in HBM: tiers that are written through have it and count it as just used."""
    for level in range(t.tier.size):
        if t.tier[level]["write_through"] != 0:
            put(t, level, r, node)


@jit
def touch(t: TierArrays, r: int, node: int) -> None:
    """A unit is no longer in use in HBM: tiers that are written through age it from now on."""
    for level in range(t.tier.size):
        row = t.row[level, r]
        if t.tier[level]["write_through"] != 0 and listed(t.place, row, node):
            remove(t.place, row, node)
            append(t.place, row, node)


@jit
def evicted(t: TierArrays, r: int, node: int) -> None:
    """HBM lets go of a unit."""
    if t.tier.size > 0 and t.tier[0]["write_through"] == 0:
        put(t, 0, r, node)


@jit
def staged(t: TierArrays, r: int, node: int) -> None:
    """A unit has been loaded: it stays where it is as just used, and is in the nearest tier, too."""
    for level in range(1, t.tier.size):
        row = t.row[level, r]
        if listed(t.place, row, node):
            remove(t.place, row, node)
            append(t.place, row, node)
    put(t, 0, r, node)


@jit
def arrival_s(t: TierArrays, level: int, r: int, units: int, now_s: float) -> float:
    """When so many units, asked for now, would have come from a tier. [s]"""
    start_s = max(now_s, t.link[level, r]["free_s"])
    end_s: float = start_s + units * t.tier[level]["unit_s"] + t.tier[level]["latency_s"]
    return end_s


@jit
def transfer(t: TierArrays, level: int, r: int, units: int, now_s: float) -> float:
    """Send them: as ``arrival_s``, and the link is taken until they are through."""
    end_s = arrival_s(t, level, r, units, now_s)
    link_s = units * t.tier[level]["unit_s"]
    t.link[level, r]["free_s"] = max(now_s, t.link[level, r]["free_s"]) + link_s
    t.link[level, r]["busy_s"] += link_s
    t.link[level, r]["loaded_bytes"] += units * t.tier[level]["unit_bytes"]
    return end_s


@jit
def clear_tiers(t: TierArrays, r: int) -> None:
    """Replica ``r`` is gone with its own tiers; a shared store stays. Loads on their way are lost."""
    for level in range(t.tier.size):
        t.link[level, r]["free_s"] = 0.0
        if t.tier[level]["shared"] != 0:
            continue
        row = t.row[level, r]
        node = t.place[row, 0]["next"]
        while node != 0:
            remove(t.place, row, node)
            node = t.place[row, 0]["next"]
        t.filled[row] = 0
