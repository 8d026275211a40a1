"""What goes down to host memory, SSD and a store, what comes back, and how long that takes; by hand."""

import pytest
from prefix_reference import UNIT_BYTES, make, make_requests, ring, tier

from tokenroof.errors import InputError
from tokenroof.serve import prefix


def content(cache, level, r=0):
    return ring(cache.tiers.place, cache.tiers.tier[level, r]["row"])


def compute(cache, i, *, r=0):
    """Request ``i`` computes all of its prompt and goes."""
    units = prefix.units_of(cache, i)
    prefix.enter(cache, r, i, 0, units)
    prefix.drop(cache, r, i, units)


def bring(cache, i, now_s, *, r=0):
    """Request ``i`` loads what is not in HBM; returns when it is there."""
    units = prefix.units_of(cache, i)
    found = prefix.match(cache, r, i, units)
    prefix.hold(cache, r, i, found)
    more = prefix.match_below(cache, r, i, found, units)
    return prefix.load(cache, r, i, found, found + more, now_s)


BACK = {"write_through": False}


def test_without_tiers_what_is_evicted_is_lost():
    cache = make([[0, 1]])
    compute(cache, 0)
    prefix.evict(cache, 0, 2, 0.0)
    assert prefix.match_below(cache, 0, 0, 0, 2) == 0


def test_what_is_evicted_sinks_tier_by_tier_and_is_lost_at_last():
    levels = (tier("host", 2, **BACK), tier("ssd", 1, **BACK), tier("store", 1, shared=True, **BACK))
    cache = make([[u] for u in range(5)], tiers=levels)
    for i in range(5):
        compute(cache, i)
    assert [content(cache, level) for level in range(3)] == [[], [], []]
    prefix.evict(cache, 0, 5, 0.0)
    assert [content(cache, level) for level in range(3)] == [[3, 4], [2], [1]]
    assert [prefix.match_below(cache, 0, i, 0, 1) for i in range(5)] == [0, 1, 1, 1, 1]
    assert prefix.tier_totals(cache)["stored_bytes"].tolist() == [
        5 * UNIT_BYTES,
        3 * UNIT_BYTES,
        2 * UNIT_BYTES,
    ]


def test_a_tier_that_is_written_through_has_it_as_soon_as_it_is_computed():
    cache = make([[0, 1, 2]], tiers=(tier("host", 2), tier("ssd", 3)))
    prefix.enter(cache, 0, 0, 0, 3)
    assert content(cache, 0) == [1, 0]  # leaves age first, here too
    assert content(cache, 1) == [2, 1, 0]
    prefix.drop(cache, 0, 0, 3)
    prefix.evict(cache, 0, 3, 0.0)
    assert content(cache, 1) == [2, 1, 0]
    assert prefix.tier_totals(cache)["stored_bytes"].tolist() == [3 * UNIT_BYTES, 3 * UNIT_BYTES]


def test_what_a_written_through_tier_has_lost_is_stored_again_when_it_is_used():
    cache = make([[0], [1]], tiers=(tier("host", 1),))
    compute(cache, 0)
    compute(cache, 1)
    assert content(cache, 0) == [1]
    prefix.hold(cache, 0, 0, 1)
    assert content(cache, 0) == [0]


def test_use_in_hbm_counts_as_use_in_tiers_that_are_written_through():
    cache = make([[0], [1], [2]], tiers=(tier("host", 2),))
    compute(cache, 0)
    compute(cache, 1)
    prefix.hold(cache, 0, 0, 1)
    prefix.drop(cache, 0, 0, 1)
    compute(cache, 2)
    assert content(cache, 0) == [0, 2]


def test_a_tier_that_is_written_through_ages_what_a_request_held_from_when_it_went():
    cache = make([[0], [1], [2]], tiers=(tier("host", 2),))
    prefix.enter(cache, 0, 0, 0, 1)
    compute(cache, 1)
    prefix.drop(cache, 0, 0, 1)
    compute(cache, 2)
    assert content(cache, 0) == [0, 2]


def test_a_copy_stays_where_it_was_loaded_from_and_comes_nearer():
    levels = (tier("host", 1, **BACK), tier("ssd", 3, **BACK))
    cache = make([[0], [1], [2]], tiers=levels)
    for i in (0, 1, 2):
        compute(cache, i)
    prefix.evict(cache, 0, 3, 0.0)
    assert (content(cache, 0), content(cache, 1)) == ([2], [0, 1])
    bring(cache, 0, 0.0)
    assert (content(cache, 0), content(cache, 1)) == ([0], [1, 0, 2])
    prefix.drop(cache, 0, 0, 1)
    before = prefix.tier_totals(cache)["stored_bytes"].tolist()
    prefix.evict(cache, 0, 1, 0.0)
    assert prefix.tier_totals(cache)["stored_bytes"].tolist() == before  # it is there already


def test_a_tier_too_small_for_one_unit_passes_everything_on():
    cache = make([[0]], tiers=(tier("host", 0, **BACK), tier("ssd", 1, **BACK)))
    compute(cache, 0)
    prefix.evict(cache, 0, 1, 0.0)
    assert (content(cache, 0), content(cache, 1)) == ([], [0])
    assert prefix.tier_totals(cache)["stored_bytes"].tolist() == [0.0, UNIT_BYTES]


def test_a_shared_store_gives_one_replica_what_another_computed():
    levels = (tier("host", 4), tier("store", 9, shared=True))
    cache = make([[0, 1]], replicas=3, tiers=levels)
    compute(cache, 0, r=2)
    assert [prefix.match(cache, r, 0, 2) for r in range(3)] == [0, 0, 2]
    assert [prefix.match_below(cache, r, 0, 0, 2) for r in range(3)] == [2, 2, 2]
    assert [content(cache, 0, r) for r in range(3)] == [[], [], [1, 0]]
    assert bring(cache, 0, 5.0, r=0) == pytest.approx(7.0, rel=1e-12)
    assert content(cache, 0, 0) == [1, 0]
    assert prefix.tier_totals(cache)["loaded_bytes"].tolist() == [0.0, 2 * UNIT_BYTES]


def test_a_failed_replica_loses_its_own_tiers_but_not_the_store():
    levels = (tier("host", 4), tier("store", 9, shared=True))
    cache = make([[0, 1]], replicas=2, tiers=levels)
    for r in (0, 1):
        compute(cache, 0, r=r)
    prefix.clear(cache, 0)
    assert [content(cache, 0, r) for r in (0, 1)] == [[], [1, 0]]
    assert content(cache, 1, 0) == [1, 0]
    lonely = make([[0]], tiers=(tier("store", 9, shared=True),))
    compute(lonely, 0)
    prefix.clear(lonely, 0)
    assert prefix.match_below(lonely, 0, 0, 0, 1) == 1


def test_a_replica_that_comes_back_does_not_wait_for_loads_that_were_lost():
    cache = make([[0, 1]], tiers=(tier("store", 9, shared=True),))
    compute(cache, 0)
    prefix.evict(cache, 0, 2, 0.0)
    assert bring(cache, 0, 0.0) == pytest.approx(2.0, rel=1e-12)
    prefix.drop(cache, 0, 0, 2)
    prefix.clear(cache, 0)
    assert bring(cache, 0, 1.0) == pytest.approx(3.0, rel=1e-12)


def test_a_load_takes_latency_and_bytes_over_bandwidth():
    cache = make([[0, 1, 2]], tiers=(tier("host", 3, bytes_per_s=2e3, latency_s=0.25),))
    compute(cache, 0)
    prefix.evict(cache, 0, 2, 0.0)  # 0 stays
    assert prefix.load_s(cache, 0, 0, 1, 3, 10.0) == pytest.approx(2 * UNIT_BYTES / 2e3 + 0.25, rel=1e-12)
    assert prefix.load_s(cache, 0, 0, 0, 3, 10.0) == pytest.approx(2 * UNIT_BYTES / 2e3 + 0.25, rel=1e-12)
    assert prefix.tier_totals(cache)["loaded_bytes"].tolist() == [0.0]  # asking takes nothing
    assert bring(cache, 0, 10.0) == pytest.approx(11.25, rel=1e-12)
    totals = prefix.tier_totals(cache)
    assert (totals["loaded_bytes"][0], totals["busy_s"][0]) == (2 * UNIT_BYTES, pytest.approx(1.0, rel=1e-12))
    assert prefix.match(cache, 0, 0, 3) == 3
    assert prefix.idle_units(cache, 0) == 0


def test_loads_of_one_replica_follow_each_other_those_of_two_do_not():
    cache = make([[0], [1]], replicas=2, tiers=(tier("store", 2, shared=True, latency_s=0.5),))
    for i in (0, 1):
        compute(cache, i)
    prefix.evict(cache, 0, 2, 0.0)
    assert bring(cache, 0, 0.0) == pytest.approx(1.5, rel=1e-12)
    assert bring(cache, 1, 0.0) == pytest.approx(2.5, rel=1e-12)  # its latency overlaps
    assert bring(cache, 0, 0.0, r=1) == pytest.approx(1.5, rel=1e-12)
    assert prefix.load_s(cache, 1, 1, 0, 1, 9.0) == pytest.approx(1.5, rel=1e-12)


def test_tiers_send_at_the_same_time():
    levels = (tier("host", 1, bytes_per_s=1e4, **BACK), tier("ssd", 2, bytes_per_s=500.0, **BACK))
    cache = make([[0, 1, 2]], tiers=levels)
    compute(cache, 0)
    prefix.evict(cache, 0, 3, 0.0)
    assert (content(cache, 0), content(cache, 1)) == ([0], [2, 1])
    assert bring(cache, 0, 0.0) == pytest.approx(2 * UNIT_BYTES / 500.0, rel=1e-12)
    assert prefix.tier_totals(cache)["busy_s"].tolist() == pytest.approx([0.1, 4.0], rel=1e-12)


def test_who_finds_what_is_on_its_way_waits_for_it_and_does_not_load_it_again():
    cache = make([[0], [0, 1]], tiers=(tier("host", 4),))
    compute(cache, 1)
    prefix.evict(cache, 0, 2, 0.0)
    assert bring(cache, 0, 3.0) == pytest.approx(4.0, rel=1e-12)
    assert prefix.match(cache, 0, 1, 2) == 1
    prefix.hold(cache, 0, 1, 1)
    assert prefix.arrived_s(cache, 0, 1, 1) == pytest.approx(4.0, rel=1e-12)
    assert prefix.load_s(cache, 0, 1, 0, 1, 3.5) == pytest.approx(0.5, rel=1e-12)
    assert prefix.tier_totals(cache)["loaded_bytes"].tolist() == [UNIT_BYTES]
    prefix.drop(cache, 0, 0, 1)
    prefix.drop(cache, 0, 1, 1)
    prefix.hold(cache, 0, 0, 1)
    assert prefix.arrived_s(cache, 0, 0, 1) == 0.0


def test_bringing_a_run_nearer_does_not_lose_the_rest_of_it():
    levels = (tier("host", 1, **BACK), tier("ssd", 3, **BACK))
    cache = make([[0, 1, 2]], tiers=levels)
    compute(cache, 0)
    prefix.evict(cache, 0, 3, 0.0)
    assert prefix.match_below(cache, 0, 0, 0, 3) == 3
    bring(cache, 0, 0.0)
    assert prefix.match(cache, 0, 0, 3) == 3
    assert len(content(cache, 0)) == 1


def test_what_is_evicted_may_push_out_what_was_not_loaded_first():
    for load_first, left in ((True, 1), (False, 0)):
        cache = make([[0], [1]], tiers=(tier("host", 1, **BACK),))
        compute(cache, 0)
        prefix.evict(cache, 0, 1, 0.0)
        compute(cache, 1)
        assert prefix.match_below(cache, 0, 0, 0, 1) == 1
        if load_first:
            bring(cache, 0, 0.0)
        assert prefix.evict(cache, 0, 1, 0.0) == 1
        assert content(cache, 0) == [1]
        assert prefix.match_below(cache, 0, 0, 0, 1) == left


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ((tier("host", -1),), "'host': blocks must be at least 0, got -4"),
        ((tier("host", bytes_per_s=0.0),), "bytes_per_s must be above 0 and finite, got 0.0"),
        ((tier("host", latency_s=float("nan")),), "latency_s must be at least 0 and finite, got nan"),
        ((tier("store", shared=True), tier("ssd")), "'ssd' is not shared but lies below 'store'"),
    ],
)
def test_tiers_that_cannot_be_are_refused(tiers, message):
    with pytest.raises(InputError, match=message):
        make([[0]], tiers=tiers)


def test_tiers_need_the_bytes_of_a_block():
    with pytest.raises(InputError, match=r"block_bytes above 0, got 0\.0"):
        prefix.make_prefix(make_requests([[0]]), 1, (tier(),), 4, 0.0, True)
