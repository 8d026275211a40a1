"""What never makes the best answer worse; what does not change it at all."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from planning import CATALOG, TPOT, TTFT, question, slower, small_space

from tokenroof.catalog.core import Chip
from tokenroof.search.asked import Limits, Objective, Question
from tokenroof.search.core import PlanResult, Record
from tokenroof.search.plan import plan
from tokenroof.search.runs import Memory

BASES = {
    "together": question("h100", rate=100.0),
    "two chips": question("h100", "l40s", rate=100.0, targets=(slower(TTFT, 2.0), slower(TPOT, 1.5))),
    "either": question(
        "h100",
        rate=60.0,
        space=small_space(disaggregated=True),
        targets=(slower(TTFT, 0.3), slower(TPOT, 0.4)),
    ),
}


def best_cost(asked: Question) -> float:
    found = plan(asked, catalog=CATALOG, workers=1)
    return math.inf if found.best is None else found.best.objectives[asked.objectives[0].name]


def cheaper(chip: Chip, factor: float) -> Chip:
    prices = {
        name: replace(price, value=price.value * factor) for name, price in chip.prices_usd_per_hour.items()
    }
    return replace(chip, prices_usd_per_hour=prices)


def roomier(chip: Chip, factor: float) -> Chip:
    memory = tuple(
        replace(
            tier,
            usable_capacity_bytes=replace(
                tier.usable_capacity_bytes, value=tier.usable_capacity_bytes.value * factor
            ),
        )
        for tier in chip.memory
    )
    return replace(chip, memory=memory)


@pytest.mark.parametrize("name", BASES)
def test_a_looser_target_is_never_worse(name: str) -> None:
    asked = BASES[name]
    costs = [
        best_cost(replace(asked, targets=tuple(slower(target, factor) for target in asked.targets)))
        for factor in (0.25, 0.5, 0.8, 1.0, 1.5, 4.0)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < math.inf


@pytest.mark.parametrize("name", BASES)
def test_a_lower_price_is_never_worse(name: str) -> None:
    asked = BASES[name]
    first, *rest = asked.chips
    costs = [
        best_cost(replace(asked, chips=(cheaper(first, factor), *rest))) for factor in (1.5, 1.0, 0.7, 0.3)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


@pytest.mark.parametrize("name", BASES)
def test_more_memory_is_never_worse(name: str) -> None:
    asked = BASES[name]
    costs = [
        best_cost(replace(asked, chips=tuple(roomier(chip, factor) for chip in asked.chips)))
        for factor in (0.35, 0.6, 1.0, 2.0)
    ]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("name", BASES)
def test_another_chip_to_choose_from_is_never_worse(name: str) -> None:
    asked = BASES[name]
    more = replace(asked, chips=(*asked.chips, CATALOG.chip("mi300x")))
    assert best_cost(more) <= best_cost(asked) * (1.0 + 1e-9)


def test_more_traffic_is_never_cheaper() -> None:
    costs = []
    for rate in (20.0, 60.0, 150.0):
        best = plan(question("h100", rate=rate), catalog=CATALOG, workers=1).best
        assert best is not None
        costs.append(best.chips)
    assert costs == sorted(costs)


def test_the_front_is_what_nothing_dominates() -> None:
    objectives = (Objective(name="usd_per_million_tokens"), Objective(name="ttft_s"))
    found = plan(
        replace(BASES["either"], objectives=objectives, targets=(slower(TTFT, 2.0), TPOT)),
        catalog=CATALOG,
        workers=1,
    )
    points = [(each.objectives["usd_per_million_tokens"], each.objectives["ttft_s"]) for each in found.front]
    assert len(points) > 1
    for one in points:
        for other in (
            *points,
            *((c.objectives["usd_per_million_tokens"], c.objectives["ttft_s"]) for c in found.others),
        ):
            assert not (other[0] <= one[0] and other[1] <= one[1] and other != one)


def test_weights_take_one_of_the_front() -> None:
    def best(money: float, wait: float) -> tuple[float, float]:
        objectives = (
            Objective(name="usd_per_million_tokens", weight=money),
            Objective(name="ttft_s", weight=wait),
        )
        asked = replace(BASES["either"], objectives=objectives, targets=(slower(TTFT, 2.0), TPOT))
        found = plan(asked, catalog=CATALOG, workers=1).best
        assert found is not None
        return found.objectives["usd_per_million_tokens"], found.objectives["ttft_s"]

    thrifty, hasty = best(10.0, 1.0), best(1.0, 10.0)
    assert thrifty[0] <= hasty[0]
    assert thrifty[1] >= hasty[1]


def essence(found: PlanResult) -> str:
    """Everything of a result that a report could show."""
    return repr(
        [
            [
                (each.candidate, each.replicas, dict(each.objectives), dict(each.metrics), each.why)
                for each in (*found.front, *found.others)
            ],
            found.rejected,
            found.bounds,
            found.candidates,
            found.simulated,
            found.infeasible,
            found.notes,
        ]
    )


class Killed(Memory):
    """A store in whose process the power goes off."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def put(self, key: str, record: Record) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().put(key, record)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_plan_that_was_killed_goes_on_to_the_same_result(after: int) -> None:
    asked = BASES["either"]
    whole = plan(asked, catalog=CATALOG, workers=1)
    store = Killed(after)
    with pytest.raises(KeyboardInterrupt):
        plan(asked, catalog=CATALOG, workers=1, store=store)
    store.left = -1
    assert essence(plan(asked, catalog=CATALOG, workers=1, store=store)) == essence(whole)


def test_nothing_is_simulated_twice() -> None:
    store = Memory()
    plan(BASES["together"], catalog=CATALOG, workers=1, store=store)
    again = Killed(0)
    again._kept = store._kept
    plan(BASES["together"], catalog=CATALOG, workers=1, store=again)


def test_the_result_does_not_hang_on_the_number_of_processes() -> None:
    asked = BASES["either"]
    assert essence(plan(asked, catalog=CATALOG, workers=2)) == essence(
        plan(asked, catalog=CATALOG, workers=1)
    )


def test_a_limit_that_is_met_changes_nothing() -> None:
    asked = BASES["together"]
    best = plan(asked, catalog=CATALOG, workers=1).best
    assert best is not None
    same = plan(replace(asked, limits=Limits(chips=best.chips)), catalog=CATALOG, workers=1).best
    assert same is not None
    assert same.replicas == best.replicas
