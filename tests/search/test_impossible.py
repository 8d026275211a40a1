"""Asks that cannot be met: the reason, and an ask that can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planning import CATALOG, ENGINE, TPOT, TTFT, question, slower, small_space, traffic

from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Limits, Objective, Question, Space, Target
from tokenroof.search.core import PlanResult
from tokenroof.search.plan import plan
from tokenroof.workload.arrivals import Poisson
from tokenroof.workload.core import RequestClass, Slo
from tokenroof.workload.lengths import Fixed
from tokenroof.workload.pairs import Independent
from tokenroof.workload.synthetic import ClosedLoop, OpenLoop, Traffic


def answer(asked: Question) -> PlanResult:
    return plan(asked, catalog=CATALOG, workers=1)


def refused(asked: Question) -> PlanResult:
    found = answer(asked)
    assert found.infeasible is not None
    assert found.best is None
    assert found.front == ()
    return found


@pytest.mark.parametrize(
    ("target", "limit_s"), [(TTFT, 1e-3), (TPOT, 1e-3), (Target(latency="e2e", limit_s=9.0), 0.05)]
)
def test_a_target_below_the_floor_says_the_nearest_that_can_be_kept(target: Target, limit_s: float) -> None:
    asked = question("h100", rate=40.0, targets=(replace(target, limit_s=limit_s),))
    problem = refused(asked).infeasible
    assert problem is not None
    assert target.name in problem.reason
    assert "Nearest ask that can be met" in problem.reason
    assert problem.need is not None
    assert problem.need > limit_s
    nearest = replace(asked, targets=(replace(target, limit_s=problem.need),))
    assert answer(nearest).best is not None


@pytest.mark.parametrize("name", ["chips", "usd_per_hour", "facility_w"])
def test_a_limit_below_what_is_needed_says_what_is(name: str) -> None:
    limits = {
        "chips": Limits(chips=1),
        "usd_per_hour": Limits(usd_per_hour=1.0),
        "facility_w": Limits(facility_w=500.0),
    }
    asked = question("h100", rate=150.0, limits=limits[name])
    problem = refused(asked).infeasible
    assert problem is not None
    assert name in problem.reason
    assert problem.need is not None
    grown = replace(asked, limits=Limits(**{name: int(problem.need) if name == "chips" else problem.need}))
    assert answer(grown).best is not None


def test_the_nearest_ask_of_a_limit_is_the_least_of_it_not_the_fastest_that_was_seen() -> None:
    asked = question("h100", "l40s", rate=60.0, limits=Limits(usd_per_hour=0.5))
    problem = refused(asked).infeasible
    free = answer(replace(asked, limits=Limits()))
    assert problem is not None
    assert problem.need is not None
    assert free.best is not None
    assert free.best.usd_per_hour == pytest.approx(problem.need, rel=0.01)


def test_a_part_of_good_requests_that_cannot_be_is_said_with_what_can() -> None:
    kind = RequestClass(slo=Slo(ttft_s=0.045, tpot_s=0.02))
    mix = (Traffic(lengths=Independent(isl=Fixed(tokens=1000), osl=Fixed(tokens=100)), request_class=kind),)
    load = OpenLoop(arrivals=Poisson(rate_per_s=40.0), mix=mix, num_requests=400)
    asked = question("h100", workload=load, targets=(), limits=Limits(good_fraction=0.999))
    found = refused(asked)
    problem = found.infeasible
    assert problem is not None
    assert "good_fraction" in [row.reason for row in found.rejected]
    assert "good requests" in problem.reason
    assert problem.need is not None
    assert 0.0 < problem.need < 0.999
    assert answer(replace(asked, limits=Limits(good_fraction=problem.need))).best is not None
    with pytest.raises(InputError, match="good_fraction"):
        answer(question("h100", limits=Limits(good_fraction=0.9)))


def test_a_model_that_fits_no_chip_says_how_large_it_is() -> None:
    asked = question("l4", model="llama-3.1-405b", space=small_space(parallels=(Parallel(), Parallel(tp=2))))
    problem = refused(asked).infeasible
    assert problem is not None
    assert problem.reason.startswith("memory")
    assert problem.unit == "bytes"
    assert problem.need is not None
    assert problem.have is not None
    assert problem.need > problem.have


def test_an_empty_space_says_what_is_missing() -> None:
    assert "no chip" in str(refused(replace(question("h100"), chips=())).infeasible)
    assert "no engine" in str(refused(question("h100", space=Space())).infeasible)
    closed = small_space(colocated=False, disaggregated=False)
    assert "colocated" in str(refused(question("h100", space=closed)).infeasible)
    odd = small_space(parallels=(Parallel(tp=3),))
    found = refused(question("h100", space=odd))
    assert "tp=3" in str(found.infeasible)
    assert sum(row.count for row in found.rejected) == found.candidates == 1


def test_limits_below_physics_say_so_and_nothing_is_simulated_under_them() -> None:
    asked = question("h100", rate=150.0, limits=Limits(chips=1))
    found = refused(asked)
    assert found.simulated == 0
    assert "physics" in str(found.infeasible)


def test_a_chip_without_a_price_is_no_answer_to_a_question_of_money() -> None:
    unpriced = replace(CATALOG.chip("h100"), prices_usd_per_hour={})
    asked = question("h100", chips=(unpriced,))
    assert "price" in str(refused(asked).infeasible)
    assert answer(replace(asked, objectives=(Objective(name="chips"),))).best is not None


def test_a_model_that_denoises_is_not_simulated() -> None:
    assert "denoises" in str(refused(question("h100", model="llada-8b")).infeasible)


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="dog"):
        answer(question("h100", targets=(replace(TTFT, request_class="dog"),)))


def test_a_closed_loop_has_no_rate() -> None:
    mix = (Traffic(lengths=Independent(isl=Fixed(tokens=100), osl=Fixed(tokens=10))),)
    loop = ClosedLoop(concurrency=4, mix=mix, num_requests=20)
    with pytest.raises(InputError, match="rate"):
        answer(question("h100", workload=loop))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target(latency="tttf", limit_s=1.0),
        lambda: Target(latency="ttft", limit_s=0.0),
        lambda: Target(latency="ttft", limit_s=1.0, quantile=99.0),
        lambda: Target(latency="itl", limit_s=1.0, request_class="chat"),
        lambda: Target(latency="itl", limit_s=1.0, quantile=0.97),
        lambda: Limits(chips=0),
        lambda: Limits(good_fraction=1.5),
        lambda: Objective(name="money"),
        lambda: Objective(weight=-1.0),
        lambda: question(objectives=()),
        lambda: question(objectives=(Objective(weight=1.0), Objective(name="chips"))),
        lambda: question(headroom_fraction=-0.1),
        lambda: question(headroom_fraction=20.0),
        lambda: question(spare_replicas=-1),
    ],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    with pytest.raises(InputError):
        make()  # type: ignore[operator]


def test_any_quantile_may_be_asked_for() -> None:
    odd = Target(latency="ttft", limit_s=0.5, quantile=0.975)
    found = answer(question("h100", rate=60.0, targets=(odd, slower(TPOT, 2.0))))
    assert found.best is not None
    check = found.best.checks[0]
    assert check.target.name == "ttft_p97.5_s"
    assert found.best.metrics["ttft_p95_s"].value <= check.value <= found.best.metrics["ttft_p99_s"].value


def test_the_helpers_are_what_they_say() -> None:
    assert ENGINE.name == "vllm"
    assert len(traffic(5.0).requests(0)) == 300
