"""Self-hosting against an API: arithmetic by hand, and what a price cannot do."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from answered import planned
from planning import CATALOG

from tokenroof.errors import InputError
from tokenroof.search.answers.core_result import API, SELF, ApiPrice, SelfHost
from tokenroof.search.answers.self_host import self_host, usd_per_request
from tokenroof.search.asked import Load

LOAD = Load(
    requests_per_s=2.0,
    isl_tokens=3000.0,
    osl_tokens=500.0,
    longest_tokens=3500,
    shared_fraction=0.25,
    num_requests=1,
)


def asked(factor: float = 1.0, **given: tuple[float, ...]) -> SelfHost:
    price = ApiPrice(usd_per_mtok_input=0.1 * factor, usd_per_mtok_output=0.4 * factor)
    return self_host(planned(), price, catalog=CATALOG, **given)


def test_a_request_costs_its_tokens() -> None:
    plain = ApiPrice(usd_per_mtok_input=1.0, usd_per_mtok_output=4.0)
    assert usd_per_request(plain, LOAD) == pytest.approx(3000e-6 + 4 * 500e-6)
    cached = replace(plain, usd_per_mtok_cached=0.1)
    assert usd_per_request(cached, LOAD) == pytest.approx(0.75 * 3000e-6 + 0.25 * 300e-6 + 4 * 500e-6)


def test_at_the_asked_load_it_is_the_choice_of_the_plan() -> None:
    found, best = asked().here, planned().best
    assert best is not None
    assert found.candidate == best.candidate
    assert found.replicas == best.replicas
    assert found.usd_per_hour == pytest.approx(best.usd_per_hour)
    assert found.usd_per_mtok == pytest.approx(best.objectives["usd_per_million_tokens"])
    load = planned().load
    tokens = load.isl_tokens * 0.1 + load.osl_tokens * 0.4
    assert found.api_usd_per_hour == pytest.approx(load.requests_per_s * 3600.0 * tokens / 1e6)


def test_a_higher_price_never_favours_the_api() -> None:
    before: SelfHost | None = None
    for factor in (0.05, 0.2, 0.5, 1.0, 2.0, 10.0):
        now = asked(factor)
        if before is not None:
            for one, other in zip(before.rows, now.rows, strict=True):
                assert not (one.cheaper == SELF and other.cheaper == API)
            assert now.break_even_fixed_per_s < before.break_even_fixed_per_s
            first, second = (
                math.inf if x.break_even_per_s is None else x.break_even_per_s for x in (before, now)
            )
            assert second <= first
        before = now
    assert before is not None
    assert {row.cheaper for row in before.rows if row.rate_per_s > 20.0} == {SELF}


def test_at_the_break_even_both_cost_the_same() -> None:
    found = asked()
    even = asked(found.break_even_factor)
    assert even.here.usd_per_hour == pytest.approx(even.here.api_usd_per_hour)
    assert even.break_even_fixed_per_s == pytest.approx(planned().load.requests_per_s)
    fixed = found.break_even_fixed_per_s
    api = usd_per_request(found.price, planned().load) * 3600.0 * fixed
    assert api == pytest.approx(found.here.usd_per_hour)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3, 2.0, 4.0])
def test_from_the_break_even_on_self_hosting_stays_cheaper(factor: float) -> None:
    first = asked(factor)
    even = first.break_even_per_s
    if even is None:
        assert asked(factor).rows[-1].cheaper == API
        return
    most = first.rows[-1].rate_per_s
    rates = tuple(even * (1.0 + 1e-6) + (most - even) * part / 200 for part in range(200))
    rows = asked(factor, rates_per_s=(*rates, most)).rows
    assert {row.cheaper for row in rows} == {SELF}
    assert asked(factor, rates_per_s=(even * (1.0 - 1e-6), most)).rows[0].cheaper == API


def test_more_load_never_takes_fewer_dollars() -> None:
    for one, other in pairwise(asked().rows):
        assert one.rate_per_s < other.rate_per_s
        assert one.usd_per_hour <= other.usd_per_hour


def test_hours_that_serve_nothing_are_paid() -> None:
    result = planned()
    half = replace(
        result,
        question=replace(
            result.question, spending=replace(result.question.spending, utilisation_fraction=0.5)
        ),
    )
    price = ApiPrice(usd_per_mtok_input=0.1, usd_per_mtok_output=0.4)
    found = self_host(half, price, catalog=CATALOG)
    assert found.here.usd_per_hour == pytest.approx(2 * asked().here.usd_per_hour)
    assert found.break_even_factor == pytest.approx(2 * asked().break_even_factor)


def test_prices_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="at least 0"):
        ApiPrice(usd_per_mtok_input=-1.0, usd_per_mtok_output=1.0)
    with pytest.raises(InputError, match="both prices"):
        ApiPrice(usd_per_mtok_input=0.0, usd_per_mtok_output=0.0)
    empty = replace(planned(), front=(), others=())
    with pytest.raises(InputError, match="no choice"):
        self_host(empty, asked().price, catalog=CATALOG)
