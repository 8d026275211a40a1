"""Loading a prefix against computing it again."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from planning import CATALOG, ENGINE, question

from tokenroof.deploy.core import Role
from tokenroof.deploy.simulated.offload import Host, Remote, Ssd
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.answers.core import OffloadTable
from tokenroof.search.answers.offload import offload
from tokenroof.search.core import Candidate, PoolPlan

ASKED = question("h100")
MINE = Candidate(
    precision=ASKED.model.precision,
    pools=(
        PoolPlan(
            role=Role.BOTH,
            chip="h100",
            engine=ENGINE.name,
            parallel=Parallel(tp=2),
            max_num_seqs=256,
            max_num_batched_tokens=8192,
        ),
    ),
)
TOKEN_BYTES = 2 * 32 * 8 * 128 * 2  # keys and values, layers, heads, 128 numbers of two bytes
LENGTHS = (128, 1024, 16_384)


def made(*tiers: Host | Ssd | Remote, **given: int) -> OffloadTable:
    return offload(ASKED, MINE, tiers, catalog=CATALOG, prefix_tokens=LENGTHS, **given)


def test_a_load_takes_its_bytes_over_the_link_and_its_latency() -> None:
    found = made(Host(size_bytes=1e12, bytes_per_s=1e9, latency_s=0.002))
    for row, tokens in zip(found.rows, LENGTHS, strict=True):
        assert row.cache_bytes == TOKEN_BYTES * tokens
        assert row.load_s == pytest.approx(0.002 + TOKEN_BYTES * tokens / 1e9)
        assert row.recompute_chip_s == pytest.approx(2 * row.recompute_s)
    assert found.tiers[0].holds_tokens == pytest.approx(1e12 / TOKEN_BYTES, rel=1e-4)


def test_at_the_break_even_bandwidth_both_take_the_same() -> None:
    first = made(Host(size_bytes=1e12, bytes_per_s=1e9, latency_s=0.002))
    for at, row in enumerate(first.rows):
        speed = row.break_even_bytes_per_s
        again = made(Host(size_bytes=1e12, bytes_per_s=speed, latency_s=0.002)).rows[at]
        assert again.load_s == pytest.approx(again.recompute_s)
        assert made(Host(size_bytes=1e12, bytes_per_s=1.01 * speed, latency_s=0.002)).rows[at].pays
        assert not made(Host(size_bytes=1e12, bytes_per_s=0.99 * speed, latency_s=0.002)).rows[at].pays


def test_a_faster_tier_never_pays_less() -> None:
    saved = [
        [row.saved_s for row in made(Ssd(size_bytes=1e12, bytes_per_s=speed, latency_s=1e-4)).rows]
        for speed in (1e8, 1e9, 1e10, 1e11)
    ]
    for slow, fast in pairwise(saved):
        assert all(a <= b for a, b in zip(slow, fast, strict=True))


def test_more_loads_at_once_share_the_link() -> None:
    one, four = (
        made(Host(size_bytes=1e12, bytes_per_s=1e10, latency_s=1e-9), loads_at_once=n).rows for n in (1, 4)
    )
    for alone, shared in zip(one, four, strict=True):
        assert shared.load_s == pytest.approx(4 * alone.load_s, rel=1e-4)
        assert shared.break_even_bytes_per_s == pytest.approx(4 * alone.break_even_bytes_per_s)


def test_a_latency_longer_than_the_prefill_never_pays() -> None:
    found = made(Remote(size_bytes=1e12, bytes_per_s=1e15, latency_s=100.0))
    assert not any(row.pays for row in found.rows)
    assert all(math.isinf(row.break_even_bytes_per_s) for row in found.rows)
    assert found.tiers[0].from_tokens is None


def test_a_latency_in_between_pays_from_some_length_on() -> None:
    plain = made(Host(size_bytes=1e12, bytes_per_s=1e15, latency_s=1e-6))
    latency_s = 0.5 * (plain.rows[0].recompute_s + plain.rows[1].recompute_s)
    found = made(Host(size_bytes=1e12, bytes_per_s=1e15, latency_s=latency_s))
    assert [row.pays for row in found.rows] == [False, True, True]
    assert found.tiers[0].from_tokens == LENGTHS[1]


def test_speeds_of_the_catalog_are_those_of_the_simulation() -> None:
    found = made(Host(size_bytes=1e12), Ssd(size_bytes=1e13), Remote(size_bytes=1e14))
    assert [tier.tier for tier in found.tiers] == ["host", "ssd", "remote"]
    assert found.tiers[1].bytes_per_s < found.tiers[0].bytes_per_s
    assert len(found.rows) == 3 * len(LENGTHS)
    assert all(row.pays for row in found.rows if row.prefix_tokens >= 1024)


def test_nothing_to_ask_is_refused() -> None:
    with pytest.raises(InputError, match="needs a tier"):
        made()
    stranger = replace(MINE, pools=(replace(MINE.pools[0], chip="h200"),))
    with pytest.raises(InputError, match="not of this question"):
        offload(ASKED, stranger, [Host(size_bytes=1e12)], catalog=CATALOG)
