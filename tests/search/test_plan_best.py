"""What a plan recommends, against everything simulated and against other seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exhaustive import candidates, cheapest
from planning import CATALOG, TPOT, TTFT, question, slower, small_space, traffic

from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Limits, Objective, Question
from tokenroof.search.core import PlanResult
from tokenroof.search.judge import missed
from tokenroof.search.plan import plan
from tokenroof.search.runs import Simulator, Task

APART = small_space(disaggregated=True, colocated=False)
SPACES = {
    "one chip, two layouts": question("h100", rate=150.0),
    "two chips": question("h100", "l40s", rate=150.0, targets=(slower(TTFT, 2.0), slower(TPOT, 1.5))),
    "limits of a step": question(
        "h100",
        rate=150.0,
        space=small_space(max_num_seqs=(32, 256), max_num_batched_tokens=(2048, 8192)),
        targets=(slower(TTFT, 0.3), slower(TPOT, 0.6)),
    ),
    "long prompts": question("h100", "h200", workload=traffic(12.0, isl=12_000, osl=150)),
    "no target but a queue that does not grow": question("l40s", rate=60.0, targets=()),
    "small batches": question(
        "h100",
        "l40s",
        workload=traffic(60.0, isl=2000, osl=60),
        space=small_space(max_num_seqs=(8, 16, 32, 64, 256), max_num_batched_tokens=(2048, 8192)),
        targets=(slower(TTFT, 1.0), slower(TPOT, 0.7)),
    ),
    "apart": question("h100", rate=90.0, space=APART),
    "apart on two chips": question(
        "h100",
        "h200",
        rate=90.0,
        space=replace(APART, parallels=(Parallel(),)),
        targets=(TTFT, slower(TPOT, 0.4)),
    ),
    "together or apart": question(
        "h100",
        rate=90.0,
        space=small_space(disaggregated=True),
        targets=(slower(TTFT, 0.3), slower(TPOT, 0.4)),
    ),
}


def answer(asked: Question) -> PlanResult:
    return plan(asked, catalog=CATALOG, workers=1)


@pytest.mark.parametrize("name", SPACES)
def test_the_best_is_within_two_percent_of_everything_simulated(name: str) -> None:
    asked = SPACES[name]
    found = answer(asked)
    assert found.best is not None, found.infeasible
    assert found.best.usd_per_hour is not None
    assert found.best.usd_per_hour <= 1.02 * cheapest(asked, most=max(found.best.needed) + 1)


@pytest.mark.parametrize("name", ["ttft_s", "tpot_s"])
def test_the_fastest_is_found_though_a_full_replica_is_slow(name: str) -> None:
    asked = question(
        "h100",
        rate=5.0,
        space=small_space(
            parallels=(Parallel(tp=4), Parallel(tp=8), Parallel(tp=4, pp=2)), max_num_seqs=(16, 256)
        ),
        targets=(TTFT,),
        limits=Limits(chips=8),
        objectives=(Objective(name=name),),
    )
    found = answer(asked).best
    assert found is not None
    simulator = Simulator(asked, CATALOG)
    values = []
    for candidate in candidates(asked):
        for count in range(1, 8 // candidate.pools[0].parallel.chips + 1):
            record = simulator.run("", Task(candidate=candidate, replicas=(count,), seed=0, rate_factor=1.0))
            if not missed(asked, record):
                values.append(record.values[name])
    assert found.objectives[name] <= 1.02 * min(values)


@pytest.mark.parametrize("name", SPACES)
def test_it_keeps_its_targets_with_another_seed_and_one_replica_fewer_does_not(name: str) -> None:
    asked = SPACES[name]
    best = answer(asked).best
    assert best is not None
    simulator = Simulator(asked, CATALOG)
    task = Task(candidate=best.candidate, replicas=best.replicas, seed=4711, rate_factor=1.0)
    assert missed(asked, simulator.run("", task)) == ""
    assert len(best.fewer) == sum(count > 1 for count in best.needed)
    for less in best.fewer:
        assert sum(less.replicas) == sum(best.needed) - 1
        assert less.missed


def test_everything_that_was_looked_at_is_counted() -> None:
    found = answer(SPACES["two chips"])
    kept = len(found.front) + len(found.others)
    assert sum(row.count for row in found.rejected) + kept == found.candidates


def test_nobody_needs_fewer_chips_than_physics() -> None:
    for asked in SPACES.values():
        found = answer(asked)
        assert found.bounds
        for choice in (*found.front, *found.others):
            assert 1 <= choice.bound_chips <= choice.chips


def test_headroom_and_spares_are_bought() -> None:
    plain, more = (
        answer(question(rate=60.0, headroom_fraction=headroom, spare_replicas=spares)).best
        for headroom, spares in ((0.0, 0), (0.5, 1))
    )
    assert plain is not None
    assert more is not None
    assert more.needed >= plain.needed
    assert more.replicas == tuple(count + 1 for count in more.needed)
    assert more.chips > plain.chips
    assert any("N+1" in line for line in more.why)
