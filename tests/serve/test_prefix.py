"""The prefix cache in HBM by hand, and with its tiers against a plain-Python one."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefix_reference import Reference, make, make_requests, ring, snapshot, tier

from tokenroof.errors import InputError
from tokenroof.serve import prefix


def serve(cache, i, *, r=0):
    """Request ``i`` comes, computes what is not there, and goes; returns what it found."""
    units = prefix.units_of(cache, i)
    found = prefix.match(cache, r, i, units)
    prefix.hold(cache, r, i, found)
    prefix.enter(cache, r, i, found, units)
    prefix.drop(cache, r, i, units)
    return found


def test_a_request_finds_the_leading_units_that_others_left():
    cache = make([[0, 1, 2], [0, 1, 3], [4, 1, 2], [0, 1, 2, 5]])
    assert [serve(cache, i) for i in range(4)] == [0, 2, 0, 3]
    assert cache.counts[0]["hits"] == 5
    assert cache.counts[0]["entered"] == 6
    assert cache.counts[0]["duplicates"] == 2  # 1 and 2 behind 4
    assert prefix.idle_units(cache, 0) == 6


def test_hit_fraction_of_an_infinite_cache_on_turns_of_a_conversation():
    turns = [list(range(k)) for k in range(1, 11)]  # turn k repeats all before and adds one unit
    cache = make(turns)
    hits = sum(serve(cache, i) for i in range(10))
    assert hits / sum(map(len, turns)) == pytest.approx(45 / 55, rel=1e-12)


def test_a_match_is_bounded_by_what_may_be_cached():
    cache = make([[0, 1, 2]])
    serve(cache, 0)
    assert prefix.match(cache, 0, 0, 2) == 2
    assert prefix.match(cache, 0, 0, 99) == 3


def test_replicas_do_not_see_each_others_memory():
    cache = make([[0, 1]], replicas=2)
    serve(cache, 0, r=1)
    assert [prefix.match(cache, r, 0, 2) for r in (0, 1)] == [0, 2]


def test_the_least_recently_used_leaves_first():
    cache = make([[0], [1], [2]])
    for i in (0, 1, 2, 0):
        serve(cache, i)
    assert ring(cache.unit, 0) == [1, 2, 0]
    assert prefix.evict(cache, 0, 2, 0.0) == 2
    assert [prefix.match(cache, 0, i, 1) for i in range(3)] == [1, 0, 0]


def test_leaves_leave_before_what_leads_to_them():
    cache = make([[0, 1, 2]])
    serve(cache, 0)
    for left in (2, 1, 0):
        assert prefix.evict(cache, 0, 1, 0.0) == 1
        assert prefix.match(cache, 0, 0, 3) == left


def test_what_is_held_stays():
    cache = make([[0, 1], [0, 1, 2]])
    prefix.enter(cache, 0, 0, 0, 2)
    assert prefix.hold(cache, 0, 1, 2) == 0
    assert prefix.drop(cache, 0, 0, 2) == 0
    assert prefix.evict(cache, 0, 9, 0.0) == 0
    assert prefix.drop(cache, 0, 1, 2) == 2
    assert prefix.hold(cache, 0, 0, 1) == 1
    assert prefix.evict(cache, 0, 9, 0.0) == 1
    assert prefix.match(cache, 0, 0, 2) == 1


def test_two_that_compute_the_same_share_one_copy():
    cache = make([[0, 1], [0, 1, 2]])
    assert prefix.enter(cache, 0, 0, 0, 2) == 0
    assert prefix.enter(cache, 0, 1, 0, 3) == 2
    assert prefix.drop(cache, 0, 0, 2) == 0
    assert prefix.drop(cache, 0, 1, 3) == 3


def test_a_failed_replica_has_nothing():
    cache = make([[0, 1]], replicas=2)
    serve(cache, 0, r=0)
    serve(cache, 0, r=1)
    prefix.clear(cache, 0)
    assert [prefix.match(cache, r, 0, 2) for r in (0, 1)] == [0, 2]
    assert [prefix.idle_units(cache, r) for r in (0, 1)] == [0, 2]
    assert serve(cache, 0) == 0
    assert serve(cache, 0) == 2


def test_mistakes_of_the_caller_are_noticed():
    cache = make([[0, 1]], tiers=(tier(),))
    with pytest.raises(AssertionError, match="nobody holds"):
        prefix.drop(cache, 0, 0, 1)
    with pytest.raises(AssertionError, match="nowhere"):
        prefix.load(cache, 0, 0, 0, 2, 0.0)
    with pytest.raises(AssertionError, match="not in HBM"):
        prefix.hold(cache, 0, 0, 1)
    cache = make([[0, 1]])
    prefix.enter(cache, 0, 0, 0, 2)
    with pytest.raises(AssertionError, match="cannot be cleared"):
        prefix.clear(cache, 0)


@pytest.mark.parametrize("shared", [True, False])
def test_without_a_cache_nothing_is_found_and_nothing_kept(shared):
    requests = make_requests([[0, 1], [0, 1]])
    if not shared:
        requests = type(requests)(
            **{name: getattr(requests, name) for name in requests.__slots__ if name != "prefixes"}
        )
    cache = prefix.make_prefix(requests, 2, (tier(),), 4, 1.0, enabled=not shared)
    assert sum(array.nbytes for array in (cache.start, cache.ids, cache.unit, cache.loaded_s)) < 64
    assert prefix.match(cache, 1, 1, 2) == prefix.match_below(cache, 1, 1, 0, 2) == 0
    assert prefix.hold(cache, 1, 1, 0) == prefix.enter(cache, 1, 1, 0, 2) == prefix.drop(cache, 1, 1, 0) == 0
    assert prefix.evict(cache, 0, 3, 0.0) == 0
    assert prefix.load(cache, 1, 1, 0, 0, 7.0) == 7.0
    prefix.clear(cache, 0)


def test_a_unit_takes_twelve_bytes_per_replica():
    cache = make([list(range(1000))], replicas=3)
    assert cache.unit.nbytes == 3 * 1001 * 12
    assert cache.tiers.place.nbytes == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [({"unit_blocks": 0}, "at least 1 block, got 0"), ({"replicas": 0}, "at least 1 replica, got 0")],
)
def test_a_cache_of_nothing_is_refused(change, message):
    given_ = {"replicas": 1, "tiers": (), "unit_blocks": 4, "block_bytes": 1.0, "enabled": True} | change
    with pytest.raises(InputError, match=message):
        prefix.make_prefix(make_requests([[0]]), **given_)


def test_requests_without_a_single_unit_are_served():
    cache = make([[], []])
    assert [serve(cache, i) for i in range(2)] == [0, 0]


# Random operations. A request is a path of a random tree; ``where`` says which replica it is at.

OPERATIONS = (
    "come and load",
    "compute",
    "go",
    "evict",
    "come and load",
    "compute",
    "go",
    "evict",
    "come",
    "fail",
)


def perform(subject, paths, operations, check):
    """Do the operations; returns what every call returned."""
    where, said = {}, []
    now_s = 0.0
    for kind, r, i, amount in operations:
        now_s += amount / 4
        what = OPERATIONS[kind]
        at, units = where.get(i, (r, 0))
        if what.startswith("come") and i not in where:
            units = subject.match(r, i, len(paths[i]))
            said.append(("hold", subject.hold(r, i, units), subject.arrived_s(r, i, units)))
            if what == "come and load":
                more = subject.match_below(r, i, units, len(paths[i]))
                said.append(("load", more, subject.load_s(r, i, units, units + more, now_s)))
                said.append(("done", subject.load(r, i, units, units + more, now_s)))
                units += more
            where[i] = (r, units)
        elif what == "compute" and i in where:
            last = min(units + amount, len(paths[i]))
            said.append(("enter", subject.enter(at, i, units, last)))
            where[i] = (at, max(last, units))
        elif what == "go" and i in where:
            said.append(("drop", subject.drop(at, i, units)))
            del where[i]
        elif what == "evict":
            said.append(("evict", subject.evict(r, amount, now_s)))
        elif what == "fail":
            for other in [k for k, (there, _) in where.items() if there == r]:
                subject.drop(r, other, where.pop(other)[1])
            subject.clear(r)
        said.append(("idle", r, subject.idle_units(r)))
        check(where)
    return said


class Compiled:
    """The functions under test, called like methods."""

    def __init__(self, cache):
        self.cache = cache

    def __getattr__(self, name):
        return lambda *given_: getattr(prefix, name)(self.cache, *given_)


@st.composite
def trees(draw):
    parents = draw(st.lists(st.integers(0, 4), min_size=4, max_size=14))
    paths = []
    for unit, back in enumerate(parents):
        above = paths[unit - back] if 0 < back <= unit else []
        paths.append([*above, unit])
    return paths


TIERS = st.builds(
    tier,
    units=st.sampled_from([3, 1, 6, 0, 12]),
    bytes_per_s=st.sampled_from([500.0, 1e3, 3e3]),
    latency_s=st.sampled_from([0.25, 0.0, 1.0]),
    write_through=st.booleans(),
)


@given(
    paths=trees(),
    tiers=st.sampled_from([2, 3, 1, 0]).flatmap(
        lambda count: st.lists(TIERS, min_size=count, max_size=count)
    ),
    store=st.lists(st.builds(tier, units=st.sampled_from([4, 1, 9]), shared=st.just(True)), max_size=1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=50)
def test_equals_ordered_dictionaries(paths, tiers, store, seed):
    levels = (*tiers, *store)
    rng = np.random.default_rng(seed)
    some = rng.integers(0, len(paths), 6)  # few requests, so that they meet
    operations = rng.integers(0, (len(OPERATIONS), 2, 6, 6), (120, 4)).tolist()
    operations = [(kind, r, int(some[i]), amount) for kind, r, i, amount in operations]
    cache = make(paths, replicas=2, tiers=levels)
    reference = Reference(paths, 2, levels)
    above = {unit: path[-2] if len(path) > 1 else None for unit, path in enumerate(paths)}
    expected = []

    def remember(where):
        held, idle, content, sums = reference.snapshot()
        expected.append(json.dumps([[sorted(one.items()) for one in held], idle, content, sums]))

    def check(where):
        held, idle, content, sums = snapshot(cache)
        state = json.dumps([[sorted(one.items()) for one in held], idle, content, sums])
        assert state == expected[len(seen)]
        seen.append(state)
        for r in (0, 1):
            assert sum(held[r].values()) == sum(units for there, units in where.values() if there == r)
            order = {unit: at for at, unit in enumerate(idle[r])}
            for unit in [*held[r], *idle[r]]:
                parent = above[unit]
                if parent is not None:
                    assert held[r].get(parent, 0) >= held[r].get(unit, 0)
                    assert parent in held[r] or order[unit] < order[parent]
            for level, each in zip(content, levels, strict=True):
                assert len(level[r]) <= each.blocks // 4

    seen = []
    said = perform(reference, paths, operations, remember)
    for mine, theirs in zip(perform(Compiled(cache), paths, operations, check), said, strict=True):
        assert mine[0] == theirs[0]
        assert mine[1:] == pytest.approx(theirs[1:], rel=1e-12, abs=1e-12)


def digest():
    """Of a long random history with three tiers."""
    rng = np.random.default_rng(7)
    paths = []
    for unit in range(120):
        back = int(rng.integers(0, 12))
        paths.append([*(paths[unit - back] if 0 < back <= unit else []), unit])
    levels = (
        tier("host", 20, latency_s=1e-3),
        tier("ssd", 30, bytes_per_s=300.0, write_through=False),
        tier("store", 60, bytes_per_s=700.0, shared=True),
    )
    cache = make(paths, replicas=3, tiers=levels)
    operations = rng.integers(0, (len(OPERATIONS), 3, len(paths), 9), (1500, 4)).tolist()
    operations = [each for each in operations if OPERATIONS[each[0]] != "fail" or each[3] == 0]
    said = perform(Compiled(cache), paths, operations, lambda where: None)
    hashed = hashlib.sha256(repr([[float(x) for x in each[1:]] for each in said]).encode())
    for array in (cache.unit, cache.counts, cache.loaded_s, cache.tiers.tier, cache.tiers.place):
        hashed.update(array.tobytes())
    return f"{hashed.hexdigest()} {cache.counts['loaded'].sum()}"


def test_compiled_equals_uncompiled():
    plain = subprocess.run(
        [sys.executable, Path(__file__).name],
        cwd=Path(__file__).parent,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert plain.strip() == digest()
    assert int(plain.split()[1]) > 50  # it did load


if __name__ == "__main__":
    sys.stdout.write(digest())
