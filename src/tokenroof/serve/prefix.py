"""The prefix cache of each replica: which leading units of prompts are in HBM, held or idle.

A *unit* is an identity of ``Requests.prefixes``, several engine blocks. In the HBM of a replica it is held
while requests refer to it, then idle until it is evicted, least recently used first. A request finds its
longest leading run of units that are present, which is what vLLM's hashed blocks and SGLang's radix tree
find. Requests let go of their deepest unit first, so a unit leaves before those that lead to it.

What the kernel does with a request (each step in O(units touched)):
``match``, ``hold`` what is there and wait until it has ``arrived_s``; ``match_below`` and ``load`` what lower
tiers have if that beats computing; ``evict`` for the room it takes; ``enter`` what it has computed; ``drop``
when it is finished or loses its blocks. An engine that has to compute the last token of every prompt (vLLM)
bounds ``match`` by ``max_units``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve import tiers as below
from tokenroof.serve.block import Block
from tokenroof.serve.core import CacheTier
from tokenroof.serve.jit import jit
from tokenroof.serve.tiers import IDLE, UNIT, TierArrays
from tokenroof.workload.core import FloatArray, Requests

Array = npt.NDArray[Any]

COUNTS = np.dtype(
    [
        ("present", "i8"),  # units now, held or idle
        ("hits", "i8"),  # units that a request found in HBM and held
        ("loaded", "i8"),  # units that came from a tier
        ("entered", "i8"),  # units that were computed and new
        ("duplicates", "i8"),  # units that were computed and there already
        ("evicted", "i8"),
    ]
)


@dataclass(eq=False)
class PrefixArrays(Block):
    """State of the prefix caches of a pool. Shapes: n requests, R replicas, H units.

    ``start`` (n + 1,) and ``ids`` as in ``Prefixes``; ``unit`` (R, H + 1) of ``UNIT``, 12 bytes, record 0 the
    ends of the ring of idle units; ``counts`` (R,) of ``COUNTS``; ``loaded_s`` (n,): when the last load that
    a request asked for is done [s]; ``tiers``: what lies below. Without a cache ``start`` has one entry, and
    every function finds and does nothing.
    """

    start: Array
    ids: Array
    unit: Array
    counts: Array
    loaded_s: Array
    tiers: TierArrays


def make_prefix(
    requests: Requests,
    replicas: int,
    tiers: tuple[CacheTier, ...],
    unit_blocks: int,
    block_bytes: float,
    enabled: bool,
) -> PrefixArrays:
    """Empty caches.

    Parameters
    ----------
    requests : Requests
        With ``prefixes``; without any there is nothing to cache.
    replicas : int
        Every one that may ever serve.
    tiers : tuple of CacheTier
        Below HBM, nearest first.
    unit_blocks : int
        Blocks that one unit fills.
    block_bytes : float
        Bytes of a block, all chips of a replica together. [bytes]
    enabled : bool
        Whether there is a cache at all.

    Raises
    ------
    InputError
        A unit or a pool of nothing, or tiers that cannot be (``make_tiers``).
    """
    if not enabled or requests.prefixes is None:
        nothing = np.zeros(1, np.int64)
        return PrefixArrays(
            start=nothing,
            ids=nothing.copy(),
            unit=np.zeros((replicas, 1), UNIT),
            counts=np.zeros(replicas, COUNTS),
            loaded_s=np.zeros(1),
            tiers=below.make_tiers((), replicas=1, units=0, unit_blocks=1, block_bytes=0.0),
        )
    if unit_blocks < 1:
        raise InputError(f"a cached unit must fill at least 1 block, got {unit_blocks}.")
    if replicas < 1:
        raise InputError(f"a prefix cache needs at least 1 replica, got {replicas}.")
    ids = np.require(requests.prefixes.ids, np.int64, ["C", "W"])
    units = int(ids.max()) + 1 if ids.size else 0
    return PrefixArrays(
        start=np.require(requests.prefixes.start, np.int64, ["C", "W"]),
        ids=ids,
        unit=np.zeros((replicas, units + 1), UNIT),
        counts=np.zeros(replicas, COUNTS),
        loaded_s=np.zeros(len(requests)),
        tiers=below.make_tiers(
            tiers, replicas=replicas, units=units, unit_blocks=unit_blocks, block_bytes=block_bytes
        ),
    )


def tier_totals(cache: PrefixArrays) -> dict[str, FloatArray]:
    """By tier, all replicas together: ``loaded_bytes``, ``stored_bytes`` and ``busy_s``, shape (T,)."""
    names = ("loaded_bytes", "stored_bytes", "busy_s")
    return {name: cache.tiers.tier[name].sum(axis=1) for name in names}


@jit
def units_of(cache: PrefixArrays, i: int) -> int:
    """Units that request ``i`` has, those of its answer included; 0 without a cache."""
    if cache.start.size == 1:
        return 0
    count: int = cache.start[i + 1] - cache.start[i]
    return count


@jit
def match(cache: PrefixArrays, r: int, i: int, max_units: int) -> int:
    """Leading units of request ``i``, at most ``max_units``, that are in the HBM of replica ``r``."""
    most = min(max_units, units_of(cache, i))
    found = 0
    while found < most and cache.unit[r, cache.ids[cache.start[i] + found] + 1]["users"] != 0:
        found += 1
    return found


@jit
def match_below(cache: PrefixArrays, r: int, i: int, first: int, max_units: int) -> int:
    """How many units from ``first`` on (and before ``max_units``) are in HBM or a tier, without a gap.

    ``load`` them before the next ``evict``: what is evicted may push others out of a tier.
    """
    most = min(max_units, units_of(cache, i))
    at = first
    while at < most:
        node = cache.ids[cache.start[i] + at] + 1
        if cache.unit[r, node]["users"] == 0 and below.nearest(cache.tiers, r, node) < 0:
            break
        at += 1
    return max(at - first, 0)


@jit
def _take(cache: PrefixArrays, r: int, node: int, loader: int) -> int:
    """One more request holds a unit; a new one comes by ``loader`` (0: computed). Returns old ``users``."""
    unit = cache.unit[r, node]
    users = unit["users"]
    if users == 0:
        unit["users"] = IDLE + 1
        unit["next"] = loader
        cache.counts[r]["present"] += 1
    else:
        unit["users"] = users + 1
        if users == IDLE:
            below.remove(cache.unit, r, node)
    return int(users)


@jit
def hold(cache: PrefixArrays, r: int, i: int, units: int) -> int:
    """Request ``i`` holds its first ``units``, all of them in HBM; returns how many were idle."""
    idle = idle_units(cache, r)
    for at in range(units - 1, -1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        present = _take(cache, r, node, 0)
        assert present, "a unit that is not in HBM cannot be held"
        below.used(cache.tiers, r, node, True)
    cache.counts[r]["hits"] += units
    return idle - idle_units(cache, r)


@jit
def enter(cache: PrefixArrays, r: int, i: int, first: int, last: int) -> int:
    """Request ``i`` has just computed units [first, last) in blocks of its own: it holds, others find them.

    Returns how many were there already: blocks that the caller can free again. Of these, those that were
    idle are so no longer (``idle_units`` before and after).
    """
    duplicates = 0
    for at in range(min(last, units_of(cache, i)) - 1, first - 1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        if _take(cache, r, node, 0) > 0:
            duplicates += 1
        else:
            cache.counts[r]["entered"] += 1
        below.used(cache.tiers, r, node, True)
    cache.counts[r]["duplicates"] += duplicates
    return duplicates


@jit
def drop(cache: PrefixArrays, r: int, i: int, units: int) -> int:
    """Request ``i`` lets go of its first ``units``, deepest first; returns how many became idle."""
    idle = idle_units(cache, r)
    for at in range(units - 1, -1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        unit = cache.unit[r, node]
        assert unit["users"] > IDLE, "a unit that nobody holds cannot be dropped"
        unit["users"] -= 1
        if unit["users"] == IDLE:
            below.append(cache.unit, r, node)
        below.used(cache.tiers, r, node, False)
    return idle_units(cache, r) - idle


@jit
def evict(cache: PrefixArrays, r: int, count: int, now_s: float) -> int:
    """Evict up to ``count`` idle units of replica ``r``, least recently used first; returns how many.

    They go to the first tier, unless that is written through. ``now_s`` is when: storing is asynchronous
    and takes no time that anybody waits for.
    """
    done = max(min(count, idle_units(cache, r)), 0)
    for _ in range(done):
        node = cache.unit[r, 0]["next"]
        below.remove(cache.unit, r, node)
        cache.unit[r, node]["users"] = 0
        if cache.tiers.tier.shape[0] > 0 and not cache.tiers.tier[0, r]["write_through"]:
            below.put(cache.tiers, 0, r, node)
    cache.counts[r]["present"] -= done
    cache.counts[r]["evicted"] += done
    return done


@jit
def _lands_s(cache: PrefixArrays, r: int, i: int, first: int, last: int) -> float:
    """When those of units [first, last) that others have asked for are there. [s]"""
    latest_s = 0.0
    for at in range(first, last):
        unit = cache.unit[r, cache.ids[cache.start[i] + at] + 1]
        if unit["users"] > IDLE and unit["next"] > 0:
            latest_s = max(latest_s, cache.loaded_s[unit["next"] - 1])
    return latest_s


@jit
def arrived_s(cache: PrefixArrays, r: int, i: int, units: int) -> float:
    """When the last of the first ``units`` of ``i``, which it holds, has come from a tier; 0: all are. [s]

    Units are present for others from the moment that somebody asks for them. Who then finds them has
    to wait until they have arrived, and does not load them again.
    """
    return _lands_s(cache, r, i, 0, units)


@jit
def _bring_s(cache: PrefixArrays, r: int, i: int, first: int, last: int, now_s: float, send: bool) -> float:
    """When units [first, last), asked for now, are in HBM; ``send``: take the links for them. [s]"""
    end_s = max(now_s, _lands_s(cache, r, i, first, last))
    for level in range(cache.tiers.tier.shape[0]):
        units = 0
        for at in range(first, last):
            node = cache.ids[cache.start[i] + at] + 1
            if cache.unit[r, node]["users"] == 0 and below.nearest(cache.tiers, r, node) == level:
                units += 1
        if units > 0:
            end_s = max(end_s, below.arrival_s(cache.tiers, level, r, units, now_s, send))
    return end_s


@jit
def load_s(cache: PrefixArrays, r: int, i: int, first: int, last: int, now_s: float) -> float:
    """How long it takes, from now, until units [first, last) have been brought into HBM. [s]

    Per tier: its link becomes free, its latency, bytes over bandwidth; tiers work at the same time.
    """
    return _bring_s(cache, r, i, first, last, now_s, False) - now_s


@jit
def load(cache: PrefixArrays, r: int, i: int, first: int, last: int, now_s: float) -> float:
    """Bring units [first, last) into HBM for request ``i``, which holds them; returns when it is done. [s]

    All of them must be in HBM or a tier (``match_below``); the caller has blocks for those not in HBM.
    """
    assert match_below(cache, r, i, first, last) == last - first, "a unit that is nowhere cannot be loaded"
    end_s = _bring_s(cache, r, i, first, last, now_s, True)
    for at in range(last - 1, first - 1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        if _take(cache, r, node, i + 1) > 0:
            cache.counts[r]["hits"] += 1
        else:
            cache.counts[r]["loaded"] += 1
            for level in range(1, cache.tiers.tier.shape[0]):
                below.touch(cache.tiers, level, r, node)
            below.put(cache.tiers, 0, r, node)
    if last > first:
        cache.loaded_s[i] = end_s
    return end_s


@jit
def clear(cache: PrefixArrays, r: int) -> None:
    """Replica ``r`` has lost its memory: nothing is left in its HBM and in the tiers that are its own.

    Its requests were dropped before. Host memory and SSD go with the engine's process or its node; a shared
    store stays.
    """
    assert cache.counts[r]["present"] == idle_units(cache, r), "a unit that is held cannot be cleared"
    for _ in range(idle_units(cache, r)):
        node = cache.unit[r, 0]["next"]
        below.remove(cache.unit, r, node)
        cache.unit[r, node]["users"] = 0
    cache.counts[r]["present"] = 0
    below.clear_tiers(cache.tiers, r)


@jit
def idle_units(cache: PrefixArrays, r: int) -> int:
    """Units in the HBM of replica ``r`` that nobody holds."""
    return int(cache.unit[r, 0]["users"])
