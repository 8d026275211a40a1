"""The call that plans: what is written and what it means."""

from __future__ import annotations

from typing import Any

import pytest

import tokenroof as tr
from tokenroof.api.lookup import load_catalog
from tokenroof.api.planning import limits_of, objectives_of, precisions_of, question_of, targets_of
from tokenroof.errors import InputError
from tokenroof.search.asked import Limits, Objective, Question, Target

CATALOG = load_catalog()


def asked(model: str = "llama-3.1-8b", chips: Any = "h100", **given: Any) -> Question:
    traffic = given.pop("traffic", {"rate": 5.0})
    return question_of(CATALOG, model, chips, traffic=traffic, **given)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"ttft_p99": "1 s"}, Target(latency="ttft", limit_s=1.0, quantile=0.99)),
        ({"tpot_p95": 0.04}, Target(latency="tpot", limit_s=0.04, quantile=0.95)),
        ({"TTFT": "800 ms"}, Target(latency="ttft", limit_s=0.8, quantile=0.99)),
        ({"e2e_mean": 20}, Target(latency="e2e", limit_s=20.0, quantile=None)),
        ({"ttft_p97.5": 1}, Target(latency="ttft", limit_s=1.0, quantile=0.975)),
        ({"Chat.ttft_p50": 1}, Target(latency="ttft", limit_s=1.0, quantile=0.5, request_class="Chat")),
    ],
)
def test_targets_are_read_as_people_write_them(written: dict[str, object], meant: Target) -> None:
    assert targets_of(written) == (meant,)


@pytest.mark.parametrize(
    "written",
    [{"tttf_p99": 1}, {"ttft_99": 1}, {"ttft_p99": "1 kg"}, {"ttft_p99": -1}, {"ttft_p100": 1}, {"": 1}],
)
def test_targets_that_mean_nothing_are_refused(written: dict[str, object]) -> None:
    with pytest.raises(InputError):
        targets_of(written)


def test_limits_take_units() -> None:
    assert limits_of({"chips": 16, "power": "20 kW", "usd_per_hour": 50}) == Limits(
        chips=16, facility_w=20e3, usd_per_hour=50.0
    )
    for wrong in ({"chip": 3}, {"chips": 2.5}, {"power": "20 km"}):
        with pytest.raises(InputError):
            limits_of(wrong)


def test_objectives_are_one_several_or_weighted() -> None:
    assert objectives_of("chips") == (Objective(name="chips"),)
    assert objectives_of(["chips", "ttft_s"]) == (Objective(name="chips"), Objective(name="ttft_s"))
    assert objectives_of({"chips": 2.0}) == (Objective(name="chips", weight=2.0),)
    with pytest.raises(InputError):
        objectives_of("money")


def test_formats_are_the_checkpoints_own_unless_others_are_asked_for() -> None:
    model = CATALOG.model("llama-3.1-8b")
    assert precisions_of(model, None, None) == (model.precision,)
    every = precisions_of(model, "all", "all")
    assert every[0] == model.precision
    assert {each.weights for each in every} == {"bf16", "fp8", "nvfp4", "mxfp4"}
    assert {each.kv for each in every} == {"bf16", "fp8"}
    assert len(set(every)) == len(every)


def test_all_chips_are_those_that_exist_and_have_a_price() -> None:
    chips = asked(chips=None).chips
    assert len(chips) >= 15
    assert all(chip.prices_usd_per_hour and not chip.projection for chip in chips)


def test_speculation_and_offload_are_tried_beside_nothing() -> None:
    traffic = {
        "rate": 5.0,
        "speculation": {"method": "ngram", "draft_tokens": 3, "acceptance": 0.4},
        "host_gb": 100,
    }
    space = asked(traffic=traffic).space
    assert [each is None for each in space.drafting] == [True, False]
    assert space.offload[0] == ()
    assert len(space.offload[1]) == 1


def test_as_many_requests_are_drawn_as_are_sent_in_two_minutes() -> None:
    for rate, count in ((1.0, 2000), (50.0, 6000), (1000.0, 20_000)):
        assert len(asked(traffic={"rate": rate}).workload.requests(0)) == count
    assert len(asked(traffic={"rate": 5.0, "num_requests": 7}).workload.requests(0)) == 7


@pytest.mark.parametrize(
    "traffic", [{}, {"concurrency": 4}, {"rate": [1, 2], "num_requests": 9}, {"rate": 0.0}, {"rat": 1.0}]
)
def test_a_plan_needs_one_rate(traffic: dict[str, object]) -> None:
    with pytest.raises(InputError):
        asked(traffic=traffic)


def test_a_plan_in_one_call() -> None:
    found = tr.plan(
        "llama-3.1-8b",
        ["h100", "l40s"],
        rate=30,
        num_requests=400,
        isl=800,
        osl=100,
        slo={"ttft_p99": "1 s", "tpot_p95": "40 ms"},
        limits={"chips": 8},
        disaggregated=False,
        most_chips_per_replica=2,
        workers=1,
    )
    assert found.best is not None
    assert found.best.chips <= 8
    assert all(check.met for check in found.best.checks)
    assert found.second is not None
    assert (
        found.second.objectives["usd_per_million_tokens"] >= found.best.objectives["usd_per_million_tokens"]
    )
    assert {bound.chip for bound in found.bounds} == {"h100", "l40s"}


def test_drafts_and_a_prefix_cache_are_planned_for() -> None:
    found = tr.plan(
        "llama-3.1-8b",
        "h100",
        rate=30,
        num_requests=400,
        shared={"tokens": 4000, "groups": 2},
        isl=300,
        osl=100,
        slo={"tpot_p95": "40 ms"},
        speculation={"method": "ngram", "draft_tokens": 3, "acceptance": 0.5},
        prefix_caching=[True, False],
        host_gb=50,
        disaggregated=False,
        most_chips_per_replica=1,
        workers=1,
    )
    assert found.load.shared_fraction > 0.5
    assert found.best is not None
    assert found.best.candidate.prefix_caching is True
