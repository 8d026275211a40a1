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

A list is a ring through the records of a row: record 0 is its ends, unit ``u`` is record ``u + 1``. All zeros
is the empty ring, so a row costs no memory until it is touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve.block import Block
from tokenroof.serve.core import CacheTier
from tokenroof.serve.jit import jit

Array = npt.NDArray[Any]

UNIT = np.dtype([("prev", "i4"), ("next", "i4"), ("users", "i4")])
"""A unit in HBM or in a tier: neighbours in the ring of those that can be evicted (``next`` of record 0 is
the least recently used), and ``users``: 0 absent, 1 idle, 1 + k held by k requests; in record 0 the length
of the ring. While a unit is held, ``next`` is 1 + the request that has it loaded, 0: nobody."""

IDLE = 1

TIER = np.dtype(
    [
        ("row", "i8"),  # where its content lies; the same for all replicas if it is shared
        ("units", "i8"),  # capacity of that row
        ("write_through", "i8"),
        ("shared", "i8"),
        ("unit_bytes", "f8"),
        ("unit_s", "f8"),  # on the link
        ("latency_s", "f8"),
        ("free_s", "f8"),  # when the last load leaves the link
        ("busy_s", "f8"),
        ("loaded_bytes", "f8"),
        ("stored_bytes", "f8"),
    ]
)
"""A tier as one replica sees it, and its link."""


@dataclass(eq=False)
class TierArrays(Block):
    """Tiers of a pool. Shapes: T tiers, R replicas, H units.

    ``tier`` (T, R) of ``TIER``, nearest first; ``place`` (rows, H + 1) of ``UNIT``.
    """

    tier: Array
    place: Array


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
    unit_bytes = unit_blocks * block_bytes
    table = np.zeros((len(tiers), replicas), TIER)
    rows = 0
    for level, tier in enumerate(tiers):
        own = 1 if tier.shared else replicas
        seen = table[level]
        seen["row"] = rows + np.arange(replicas) % own
        seen["units"] = tier.blocks // unit_blocks
        seen["write_through"] = tier.write_through
        seen["shared"] = tier.shared
        seen["unit_bytes"] = unit_bytes
        seen["unit_s"] = unit_bytes / tier.bytes_per_s
        seen["latency_s"] = tier.latency_s
        rows += own
    return TierArrays(
        tier=table,
        place=np.zeros((rows, units + 1) if tiers else (1, 1), UNIT),
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
    ends, unit = ring[row, 0], ring[row, node]
    unit["prev"] = ends["prev"]
    unit["next"] = 0
    ring[row, ends["prev"]]["next"] = node
    ends["prev"] = node
    ends["users"] += 1


@jit
def remove(ring: Array, row: int, node: int) -> None:
    """``node`` leaves a ring."""
    unit = ring[row, node]
    ring[row, unit["prev"]]["next"] = unit["next"]
    ring[row, unit["next"]]["prev"] = unit["prev"]
    ring[row, 0]["users"] -= 1
    unit["prev"] = 0
    unit["next"] = 0


@jit
def nearest(t: TierArrays, r: int, node: int) -> int:
    """Number of the first tier of replica ``r`` that has a unit, or -1."""
    for level in range(t.tier.shape[0]):
        if t.place[t.tier[level, r]["row"], node]["users"]:
            return level
    return -1


@jit
def touch(t: TierArrays, level: int, r: int, node: int) -> bool:
    """If a tier has a unit, count it as just used; returns whether it has."""
    row = t.tier[level, r]["row"]
    if t.place[row, node]["users"] == 0:
        return False
    remove(t.place, row, node)
    append(t.place, row, node)
    return True


@jit
def put(t: TierArrays, level: int, r: int, node: int) -> None:
    """A unit of replica ``r`` comes to a tier; what has to leave goes to the next, at last nowhere."""
    while not touch(t, level, r, node):
        tier = t.tier[level, r]
        if tier["units"] > 0:
            row = tier["row"]
            t.place[row, node]["users"] = IDLE
            append(t.place, row, node)
            tier["stored_bytes"] += tier["unit_bytes"]
            if t.place[row, 0]["users"] <= tier["units"]:
                return
            node = t.place[row, 0]["next"]
            t.place[row, node]["users"] = 0
            remove(t.place, row, node)
        level += 1
        if level == t.tier.shape[0] or t.tier[level, r]["write_through"]:
            return  # a tier that is written through had its own copy from the beginning


@jit
def used(t: TierArrays, r: int, node: int, store: bool) -> None:
    """A unit in HBM is used: tiers that are written through count that; ``store``: and have it."""
    for level in range(t.tier.shape[0]):
        if t.tier[level, r]["write_through"]:
            if store:
                put(t, level, r, node)
            else:
                touch(t, level, r, node)


@jit
def arrival_s(t: TierArrays, level: int, r: int, units: int, now_s: float, send: bool) -> float:
    """When so many units, asked for now, have come from a tier; ``send``: take the link for them. [s]"""
    tier = t.tier[level, r]
    link_s = units * tier["unit_s"]
    through_s = max(now_s, tier["free_s"]) + link_s
    if send:
        tier["free_s"] = through_s
        tier["busy_s"] += link_s
        tier["loaded_bytes"] += units * tier["unit_bytes"]
    return float(through_s + tier["latency_s"])


@jit
def clear_tiers(t: TierArrays, r: int) -> None:
    """Replica ``r`` is gone with its own tiers; a shared store stays. Loads on their way are lost."""
    for level in range(t.tier.shape[0]):
        tier = t.tier[level, r]
        tier["free_s"] = 0.0
        if not tier["shared"]:
            row = tier["row"]
            while t.place[row, 0]["users"] > 0:
                node = t.place[row, 0]["next"]
                t.place[row, node]["users"] = 0
                remove(t.place, row, node)
