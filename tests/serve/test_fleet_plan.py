"""Fleets that cannot be are refused; failures by chance have the means that were asked for."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from serve_fleets import pool, requests, setup
from tokenroof.errors import InputError
from tokenroof.serve.core import Autoscaler, Fleet, Incident
from tokenroof.serve.fleet_plan import check_fleet, random_failures
from tokenroof.serve.run import simulate


def incident(**fields: Any) -> Fleet:
    return Fleet(incidents=(Incident(**{"at_s": 1.0, "for_s": 1.0, **fields}),))


def scaler(**fields: Any) -> Fleet:
    return Fleet(autoscalers=(Autoscaler(**{"signal": "queue", "target": 1.0, **fields}),))


@pytest.mark.parametrize(
    ("fleet", "message"),
    [
        (incident(pool=1), "there are 1 pools, counted from 0, got 1"),
        (incident(replicas=(2,)), "pool 0 has 2 replicas, from 0, got 2"),
        (incident(replicas=(-1,)), "got -1"),
        (incident(replicas=()), "named once each"),
        (incident(replicas=(0, 0)), "named once each"),
        (incident(at_s=-1.0), "at_s must be finite and at least 0"),
        (incident(at_s=math.nan), "at_s must be finite"),
        (incident(for_s=0.0), "for_s must be above 0"),
        (incident(slowdown=0.5), "slowdown must be at least 1"),
        (scaler(signal="cpu"), "one of rate, queue, kv, got 'cpu'"),
        (scaler(target=0.0), "target must be above 0"),
        (scaler(least=3, most=2), "least must lie in 1..most"),
        (scaler(least=0), "least must lie in 1..most"),
        (scaler(interval_s=0.0), "interval_s must be above 0"),
        (scaler(down_after_s=-1.0), "down_after_s must be finite and at least 0"),
        (scaler(pool=3), "counted from 0, got 3"),
        (Fleet(autoscalers=scaler().autoscalers * 2), "pool 0 has an autoscaler already"),
        (Fleet(spares=(0, 1)), "spares are given for 2 pools, there are 1"),
        (Fleet(spares=(-1,)), "spares must be at least 0"),
        (Fleet(takeover_s=-1.0), "takeover_s"),
        (Fleet(max_retries=-1), "max_retries must be at least 0"),
    ],
)
def test_what_cannot_happen_is_refused(fleet: Fleet, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(setup(pool(2), fleet=fleet), requests([0.0], 10, 2))


def test_start_up_times_are_checked() -> None:
    with pytest.raises(InputError, match="start_up_s of pool 0"):
        check_fleet(setup(pool(start_up_s=-1.0)))


def test_spares_and_added_replicas_may_fail() -> None:
    fleet = Fleet(
        incidents=incident(replicas=(4,)).incidents, spares=(1,), autoscalers=scaler(most=4).autoscalers
    )
    check_fleet(setup(pool(2), fleet=fleet))


def test_failures_by_chance_have_the_means_asked_for() -> None:
    found = random_failures(replicas=range(40), mtbf_s=900.0, mttr_s=100.0, until_s=1e5, seed=3)
    assert all(0.0 <= each.at_s < 1e5 and each.slowdown == math.inf for each in found)
    assert [each.at_s for each in found] == sorted(each.at_s for each in found)
    # 40 replicas x 1e5 s / 1,000 s = 4,000 failures, standard deviation of a renewal process below 63.
    assert len(found) == pytest.approx(4000, abs=250)
    assert np.mean([each.for_s for each in found]) == pytest.approx(100.0, rel=0.06)
    for replica in range(40):
        mine = [each for each in found if each.replicas == (replica,)]
        assert all(a.at_s + a.for_s < b.at_s for a, b in itertools.pairwise(mine))


def test_failures_by_chance_follow_seed_and_node() -> None:
    given: dict[str, Any] = {"mtbf_s": 50.0, "mttr_s": 5.0, "until_s": 500.0}
    one = random_failures(replicas=range(8), seed=1, replicas_per_node=4, **given)
    assert {each.replicas for each in one} == {(0, 1, 2, 3), (4, 5, 6, 7)}
    assert one == random_failures(replicas=range(8), seed=1, replicas_per_node=4, **given)
    assert one != random_failures(replicas=range(8), seed=2, replicas_per_node=4, **given)
    fewer = random_failures(replicas=range(4), seed=1, replicas_per_node=4, **given)
    assert fewer == tuple(each for each in one if each.replicas == (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("name", "value"), [("mtbf_s", 0.0), ("mttr_s", math.inf), ("until_s", -1.0), ("replicas_per_node", 0)]
)
def test_failures_by_chance_are_checked(name: str, value: float) -> None:
    given: dict[str, Any] = {"replicas": (0,), "mtbf_s": 1.0, "mttr_s": 1.0, "until_s": 1.0, "seed": 0}
    with pytest.raises(InputError, match=name):
        random_failures(**{**given, name: value})
