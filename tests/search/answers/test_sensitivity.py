"""How sure a choice is: what is certain, what follows by hand, and what draws are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from answered import STORE, planned, planned_apart
from planning import CATALOG, question, small_space

from tokenroof.catalog.accuracy import CLOSED_FORM, SCOPES, SIMULATED, Accuracy, Spread, write
from tokenroof.catalog.catalog import Catalog, load
from tokenroof.deploy.known import HIGHEST, THROUGHPUT, asked_of, log_factors, log_parts, under_known_name
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.answers.core_result import Doubts, Flip, Sensitivity
from tokenroof.search.answers.draws import SPEEDS, rivals_of
from tokenroof.search.answers.sensitivity import _components, _Doubt, sensitivity
from tokenroof.search.asked import Limits, Objective
from tokenroof.search.core import PlanResult
from tokenroof.search.plan import plan

SURE = Doubts(price_fraction=0.0, growth_low=1.0, growth_high=1.0, prediction=False)
PLANS = pytest.mark.parametrize("result", [planned, planned_apart])
Plan = Callable[[], PlanResult]


def exact(directory: Path) -> Catalog:
    """A catalog whose predictions are always right."""
    spreads = tuple(
        Spread(
            metric=THROUGHPUT,
            prediction=prediction,
            scope=scope,
            low_factor=1.0,
            middle_factor=1.0,
            high_factor=1.0,
            rows=1,
            groups=1,
        )
        for prediction in (SIMULATED, CLOSED_FORM)
        for scope in SCOPES
    )
    write(Accuracy(spreads=spreads), directory)
    return load([directory])


@PLANS
def test_nothing_in_doubt_is_the_same_choice_always(result: Plan) -> None:
    found = sensitivity(result(), SURE, catalog=CATALOG)
    assert found.same_fraction == found.same_chips_fraction == 1.0
    assert set(found.alone.values()) == {1.0}
    assert found.regret_fraction == 0.0
    assert found.impossible_fraction == 0.0
    assert found.text == "the choice is the same in 100% of 1000 draws"
    best = result().best
    assert best is not None
    assert found.candidate == best.candidate


@pytest.mark.parametrize("weights", [(None, None), (1.0, 5.0)])
def test_several_objectives_are_weighed_as_the_plan_weighs_them(weights: tuple[float | None, ...]) -> None:
    names = ("usd_per_million_tokens", "ttft_s")
    objectives = tuple(
        Objective(name=name, weight=weight) for name, weight in zip(names, weights, strict=True)
    )
    asked = replace(planned().question, objectives=objectives)
    found = sensitivity(plan(asked, catalog=CATALOG, workers=1, store=STORE), SURE, catalog=CATALOG)
    assert found.same_fraction == 1.0


@PLANS
def test_intervals_without_width_change_nothing(result: Plan, tmp_path: Path) -> None:
    right = exact(tmp_path)
    found = sensitivity(result(), replace(SURE, prediction=True), catalog=right)
    assert found.same_fraction == 1.0


def by_what(found: Sensitivity, what: str) -> list[Flip]:
    return [flip for flip in found.flips if flip.what == what]


def test_prices_flip_where_two_cost_the_same() -> None:
    first, second = planned().front[0], planned().others[0]
    assert first.usd_per_hour is not None
    assert second.usd_per_hour is not None
    found = sensitivity(planned(), SURE, catalog=CATALOG)
    ratio = second.usd_per_hour / first.usd_per_hour
    one, other = (choice.candidate.pools[0].chip for choice in (first, second))
    (dearer,), (cheaper,) = by_what(found, f"price of {one}"), by_what(found, f"price of {other}")
    assert dearer.factor == pytest.approx(ratio)
    assert cheaper.factor == pytest.approx(1.0 / ratio)
    assert dearer.to == cheaper.to == second.candidate


def test_a_price_of_all_rivals_flips_nothing() -> None:
    found = sensitivity(planned_apart(), SURE, catalog=CATALOG)
    (flip,) = by_what(found, "price of h100")
    assert math.isnan(flip.factor)
    assert flip.to is None


@PLANS
def test_the_choice_is_another_beyond_a_flip_of_traffic_and_the_same_before(result: Plan) -> None:
    whole = result()
    rivals = rivals_of(whole.question, (*whole.front, *whole.others))
    for flip in by_what(sensitivity(whole, SURE, catalog=CATALOG), "traffic"):
        if math.isnan(flip.factor):
            continue

        def cheapest(growth: float) -> int:
            dollars = []
            for rival in rivals:
                counts = [math.ceil((need - 0.5) * growth - 1e-9) for need in rival.choice.needed]
                prices = [CATALOG.chip(p.chip).prices_usd_per_hour["cloud_low"].value for p in rival.pools]
                chips = [pool.parallel.chips for pool in rival.pools]
                dollars.append(sum(a * b * c for a, b, c in zip(counts, prices, chips, strict=True)))
            return int(np.argmin(dollars))

        assert cheapest(math.exp(0.999 * math.log(flip.factor))) == 0
        assert rivals[cheapest(math.exp(1.001 * math.log(flip.factor)))].choice.candidate == flip.to


def test_less_sure_prices_are_never_a_surer_choice() -> None:
    same = [
        sensitivity(planned(), replace(SURE, price_fraction=part), catalog=CATALOG).same_fraction
        for part in (0.0, 0.3, 0.6, 0.9)
    ]
    assert same == sorted(same, reverse=True)
    assert same[-1] < 1.0


def test_the_same_seed_is_the_same_answer_and_another_is_not_far() -> None:
    one, again = (sensitivity(planned(), catalog=CATALOG) for _ in range(2))
    assert repr(one) == repr(again)
    other = sensitivity(planned(), Doubts(seed=1), catalog=CATALOG)
    assert other.same_fraction != 1.0
    assert other.same_fraction == pytest.approx(one.same_fraction, abs=0.06)
    assert sum(share.fraction for share in one.shares) == pytest.approx(1.0)
    mine = [share.fraction for share in one.shares if share.candidate == one.candidate]
    assert mine == [one.same_fraction]


def test_a_doubt_alone_is_drawn_as_with_the_others() -> None:
    both = Doubts(price_fraction=0.5, growth_low=1.0, growth_high=1.0, prediction=False)
    found = sensitivity(planned(), both, catalog=CATALOG)
    assert found.alone["price"] == found.same_fraction
    assert found.alone["traffic"] == found.alone["prediction"] == 1.0


def test_a_limit_on_chips_makes_growth_impossible() -> None:
    result = planned()
    best = result.best
    assert best is not None
    tight = replace(result, question=replace(result.question, limits=Limits(chips=best.chips)), others=())
    grown = replace(SURE, growth_low=2.0, growth_high=2.0)
    found = sensitivity(tight, grown, catalog=CATALOG)
    assert found.impossible_fraction == 1.0
    assert found.same_fraction == 0.0
    assert found.shares[0].candidate is None


def test_the_parts_of_an_interval_are_the_interval() -> None:
    """Independent errors add by squares to the half-widths that results show."""
    for chip in ("h100", "l40s", "b200", "mi300x"):
        best = planned().front[0]
        pool = replace(best.deployment.pools[0], chip=CATALOG.chip(chip))
        deployment = replace(best.deployment, pools=(pool,))
        for grounded in (True, False):
            asked = asked_of(deployment, load=HIGHEST, grounded=grounded)
            (named,) = under_known_name(asked, deployment.model, CATALOG)
            parts = log_parts(named, THROUGHPUT, SIMULATED, CATALOG.accuracy)
            ends = log_factors(named, THROUGHPUT, SIMULATED, CATALOG.accuracy)
            assert parts is not None
            assert ends is not None
            found = list(_components(named, parts, (0, 0)))
            assert len({key for key, _, _ in found}) == len(found)
            assert parts.middle - math.hypot(*(below for _, below, _ in found)) == pytest.approx(ends[0])
            assert parts.middle + math.hypot(*(above for _, _, above in found)) == pytest.approx(ends[1])


def test_nine_of_ten_speeds_lie_within_the_interval() -> None:
    whole = planned()
    doubt = _Doubt(whole, rivals_of(whole.question, (*whole.front, *whole.others)), CATALOG)
    drawn = doubt.world(Doubts(draws=20_000)).speeds
    for rival, speeds in zip(doubt.rivals, drawn, strict=True):
        asked = asked_of(rival.choice.deployment, load=HIGHEST, grounded=True)
        ends = log_factors(asked[0], THROUGHPUT, SIMULATED, CATALOG.accuracy)
        assert ends is not None
        logs = np.log(speeds[0])
        assert np.mean((logs > ends[0]) & (logs < ends[1])) == pytest.approx(0.9, abs=0.05)
    (one,), (other,) = drawn
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.9


@pytest.mark.parametrize("growth", [1.5, 3.0])
def test_replicas_for_more_traffic_are_those_of_a_plan_for_it(growth: float) -> None:
    """Between what is drawn at least, and at most."""

    def needed(rate_per_s: float) -> int:
        asked = replace(
            question("h100", rate=rate_per_s), space=small_space(parallels=(Parallel(),)), confirm_seeds=0
        )
        best = plan(asked, catalog=CATALOG, workers=1).best
        assert best is not None
        return best.needed[0]

    now = needed(120.0)
    assert math.ceil((now - 1) * growth) <= needed(120.0 * growth) <= math.ceil(now * growth)


def test_a_faster_replica_never_serves_less() -> None:
    for result in (planned(), planned_apart()):
        for rival in rivals_of(result.question, (*result.front, *result.others)):
            for capacity in rival.log_capacity:
                assert capacity.size == len(SPEEDS)
                assert all(a <= b for a, b in pairwise(capacity.tolist()))
                assert capacity[len(SPEEDS) // 2] == pytest.approx(0.0, abs=1e-9)


def test_a_plan_without_a_choice_is_refused() -> None:
    with pytest.raises(InputError, match="no choice"):
        sensitivity(replace(planned(), front=(), others=()), catalog=CATALOG)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"price_fraction": 1.0}, "price_fraction"), ({"growth_low": 2.0}, "growth"), ({"draws": 0}, "draws")],
)
def test_doubts_that_are_none_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Doubts(**given)  # type: ignore[arg-type]
