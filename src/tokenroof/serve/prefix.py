"""The prefix cache of each replica: which leading units of prompts are in HBM, held or idle.

A *unit* is an identity of ``Requests.prefixes``, several engine blocks. In the HBM of a replica it is held
while requests refer to it, then idle until it is evicted, least recently used first. A request finds its
longest leading run of units that are present, which is what vLLM's hashed blocks and SGLang's radix tree
find. Requests let go of their deepest unit first, so a unit leaves before those that lead to it.

What the kernel does with a request (each step in O(units touched)):
``match``, ``hold`` what is there; ``evict`` for the room it needs; ``match_below`` and ``load`` if that
beats computing; ``enter`` what it has computed; ``drop`` when it is finished or loses its blocks. An engine
that has to compute the last token of every prompt (vLLM) bounds ``match`` by ``max_units``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.serve import tiers as below
from tokenroof.serve.core import CacheTier
from tokenroof.serve.jit import jit
from tokenroof.serve.tiers import TierArrays
from tokenroof.workload.core import FloatArray, Requests

Array = npt.NDArray[Any]

UNIT = np.dtype([("prev", "i4"), ("next", "i4"), ("users", "i4")])
"""``users``: 0 absent, 1 idle, 1 + k held by k requests. Neighbours are of the ring of idle units; while
held, ``next`` is 1 + the request that has it loaded, 0: nobody."""

IDLE = 1

COUNTS = np.dtype(
    [
        ("idle", "i8"),  # units now
        ("present", "i8"),  # units now, held or idle
        ("hits", "i8"),  # units that a request found in HBM and held
        ("loaded", "i8"),  # units that came from a tier
        ("entered", "i8"),  # units that were computed and new
        ("duplicates", "i8"),  # units that were computed and there already
        ("evicted", "i8"),
    ]
)


class PrefixArrays(NamedTuple):
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
            unit=np.zeros((1, 1), UNIT),
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
    return {name: cache.tiers.link[name].sum(axis=1) for name in names}


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

    Ask after ``evict``, not before: what is evicted may push something else out of the tiers.
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
def _take(cache: PrefixArrays, r: int, node: int) -> int:
    """One more request holds a unit that is present; 1 if it was idle."""
    users = cache.unit[r, node]["users"]
    cache.unit[r, node]["users"] = users + 1
    if users != IDLE:
        return 0
    below.remove(cache.unit, r, node)
    cache.counts[r]["idle"] -= 1
    return 1


@jit
def hold(cache: PrefixArrays, r: int, i: int, units: int) -> int:
    """Request ``i`` holds its first ``units``, all of them in HBM; returns how many were idle."""
    were_idle = 0
    for at in range(min(units, units_of(cache, i)) - 1, -1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        assert cache.unit[r, node]["users"] != 0, "a unit that is not in HBM cannot be held"
        were_idle += _take(cache, r, node)
        cache.counts[r]["hits"] += 1
        below.write_through(cache.tiers, r, node)
    return were_idle


@jit
def enter(cache: PrefixArrays, r: int, i: int, first: int, last: int) -> int:
    """Request ``i`` has just computed units [first, last) in blocks of its own: it holds, others find them.

    Returns how many were there already: blocks that the caller can free again. Of these, those that were
    idle are so no longer (``idle_units`` before and after).
    """
    duplicates = 0
    for at in range(min(last, units_of(cache, i)) - 1, first - 1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        if cache.unit[r, node]["users"] == 0:
            cache.unit[r, node]["users"] = IDLE + 1
            cache.counts[r]["present"] += 1
            cache.counts[r]["entered"] += 1
        else:
            duplicates += 1
            _take(cache, r, node)
        below.write_through(cache.tiers, r, node)
    cache.counts[r]["duplicates"] += duplicates
    return duplicates


@jit
def drop(cache: PrefixArrays, r: int, i: int, units: int) -> int:
    """Request ``i`` lets go of its first ``units``, deepest first; returns how many became idle."""
    became_idle = 0
    for at in range(min(units, units_of(cache, i)) - 1, -1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        users = cache.unit[r, node]["users"]
        assert users > IDLE, "a unit that nobody holds cannot be dropped"
        cache.unit[r, node]["users"] = users - 1
        if users - 1 == IDLE:
            below.append(cache.unit, r, node)
            became_idle += 1
        below.touch(cache.tiers, r, node)
    cache.counts[r]["idle"] += became_idle
    return became_idle


@jit
def evict(cache: PrefixArrays, r: int, count: int, now_s: float) -> int:
    """Evict up to ``count`` idle units of replica ``r``, least recently used first; returns how many.

    They go to the first tier, if it does not have them already. ``now_s`` is when: storing is asynchronous
    and takes no time that anybody waits for.
    """
    done = 0
    while done < count:
        node = cache.unit[r, 0]["next"]
        if node == 0:
            break
        below.remove(cache.unit, r, node)
        cache.unit[r, node]["users"] = 0
        below.evicted(cache.tiers, r, node)
        done += 1
    cache.counts[r]["idle"] -= done
    cache.counts[r]["present"] -= done
    cache.counts[r]["evicted"] += done
    return done


@jit
def arrived_s(cache: PrefixArrays, r: int, i: int, units: int) -> float:
    """When the last of the first ``units`` of ``i``, which it holds, is in HBM; 0: all are. [s]

    Units are present for others from the moment that somebody asks for them. Who then finds them has
    to wait until they have arrived, and does not load them again.
    """
    latest_s = 0.0
    for at in range(min(units, units_of(cache, i))):
        latest_s = max(latest_s, _lands_s(cache, r, cache.ids[cache.start[i] + at] + 1))
    return latest_s


@jit
def _lands_s(cache: PrefixArrays, r: int, node: int) -> float:
    if cache.unit[r, node]["users"] <= IDLE or cache.unit[r, node]["next"] == 0:
        return 0.0
    landing_s: float = cache.loaded_s[cache.unit[r, node]["next"] - 1]
    return landing_s


@jit
def _absent(cache: PrefixArrays, r: int, i: int, first: int, last: int, level: int) -> int:
    """How many units of [first, last) have to come from a tier."""
    count = 0
    for at in range(first, last):
        node = cache.ids[cache.start[i] + at] + 1
        if cache.unit[r, node]["users"] == 0 and below.nearest(cache.tiers, r, node) == level:
            count += 1
    return count


@jit
def load_s(cache: PrefixArrays, r: int, i: int, first: int, last: int, now_s: float) -> float:
    """How long it takes, from now, until units [first, last) have been brought into HBM. [s]

    Per tier: its link becomes free, its latency, bytes over bandwidth; tiers work at the same time.
    """
    end_s = now_s
    for at in range(first, last):
        end_s = max(end_s, _lands_s(cache, r, cache.ids[cache.start[i] + at] + 1))
    for level in range(cache.tiers.tier.size):
        units = _absent(cache, r, i, first, last, level)
        if units > 0:
            end_s = max(end_s, below.arrival_s(cache.tiers, level, r, units, now_s))
    return end_s - now_s


@jit
def load(cache: PrefixArrays, r: int, i: int, first: int, last: int, now_s: float) -> float:
    """Bring units [first, last) into HBM for request ``i``, which holds them; returns when it is done. [s]

    All of them must be in HBM or a tier (``match_below``); the caller has blocks for those not in HBM.
    """
    end_s = now_s
    for at in range(first, last):
        node = cache.ids[cache.start[i] + at] + 1
        if cache.unit[r, node]["users"] != 0:
            end_s = max(end_s, _lands_s(cache, r, node))
        else:
            assert below.nearest(cache.tiers, r, node) >= 0, "a unit that is nowhere cannot be loaded"
    for level in range(cache.tiers.tier.size):
        units = _absent(cache, r, i, first, last, level)
        if units > 0:
            end_s = max(end_s, below.transfer(cache.tiers, level, r, units, now_s))
    for at in range(last - 1, first - 1, -1):
        node = cache.ids[cache.start[i] + at] + 1
        if cache.unit[r, node]["users"] != 0:
            _take(cache, r, node)
            cache.counts[r]["hits"] += 1
        else:
            cache.unit[r, node]["users"] = IDLE + 1
            cache.unit[r, node]["next"] = i + 1
            cache.counts[r]["present"] += 1
            cache.counts[r]["loaded"] += 1
            below.staged(cache.tiers, r, node)
    if last > first:
        cache.loaded_s[i] = end_s
    return end_s


@jit
def clear(cache: PrefixArrays, r: int) -> None:
    """Replica ``r`` has lost its memory: nothing is left in its HBM and in the tiers that are its own.

    Its requests were dropped before. Host memory and SSD go with the engine's process or its node; a shared
    store stays.
    """
    assert cache.counts[r]["idle"] == cache.counts[r]["present"], "a unit that is held cannot be cleared"
    node = cache.unit[r, 0]["next"]
    while node != 0:
        below.remove(cache.unit, r, node)
        cache.unit[r, node]["users"] = 0
        node = cache.unit[r, 0]["next"]
    cache.counts[r]["idle"] = 0
    cache.counts[r]["present"] = 0
    below.clear_tiers(cache.tiers, r)


@jit
def idle_units(cache: PrefixArrays, r: int) -> int:
    """Units in the HBM of replica ``r`` that nobody holds."""
    count: int = cache.counts[r]["idle"]
    return count
