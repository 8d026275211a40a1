"""Arrivals: rates, burstiness and laws of gaps; changing rates; growing and rescaling without surprise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tokenroof.errors import InputError
from tokenroof.workload.arrivals import (
    AllAtOnce,
    Constant,
    Gamma,
    Normalised,
    Phase,
    Phases,
    Poisson,
    Varying,
    Weibull,
    times_within,
)

DRAWS = 200_000
RENEWAL = [
    (Poisson(rate_per_s=7.0), 1.0),
    (Gamma(rate_per_s=7.0, burstiness=0.25), 2.0),
    (Gamma(rate_per_s=7.0, burstiness=4.0), 0.5),
    (Gamma.from_cv(rate_per_s=7.0, cv=1.5), 1.5),
    (Weibull(rate_per_s=7.0, cv=1.0), 1.0),
    (Weibull(rate_per_s=7.0, cv=2.5), 2.5),
    (Weibull(rate_per_s=7.0, cv=0.3), 0.3),
]
DAY = Varying.sinusoidal(mean_rate_per_s=2.0, amplitude_fraction=0.8)
STEPS = Varying(rates_per_s=[3.0, 0.0, 9.0], windows_s=[20.0, 5.0, 10.0])
STAGES = Phases(
    phases=(
        Phase(duration_s=30.0, arrivals=Poisson(rate_per_s=8.0)),
        Phase(duration_s=10.0, arrivals=None),
        Phase(duration_s=30.0, arrivals=Gamma(rate_per_s=20.0, burstiness=0.5)),
    )
)
ALL = [*(one for one, _ in RENEWAL), Constant(rate_per_s=7.0), AllAtOnce(), DAY, STEPS, STAGES]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("arrivals", "cv"), RENEWAL, ids=repr)
def test_gaps_have_the_rate_and_the_variation_promised(arrivals: Any, cv: float) -> None:
    gaps = np.diff(arrivals.times(rng(), DRAWS), prepend=0.0)
    assert abs(gaps.mean() * arrivals.rate_per_s - 1.0) <= 4.5 * cv / np.sqrt(DRAWS)
    # sampling error of a coefficient of variation, by the fourth moment of these very gaps
    centred = gaps / gaps.mean() - 1.0
    error = np.sqrt(np.var(centred**2) / (4.0 * cv**2) + cv**4 + abs(np.mean(centred**3))) / np.sqrt(DRAWS)
    assert abs(gaps.std() / gaps.mean() - cv) <= 4.5 * error


@pytest.mark.parametrize(
    ("arrivals", "law"),
    [
        (Poisson(rate_per_s=3.0), stats.expon(scale=1 / 3.0)),
        (Gamma(rate_per_s=3.0, burstiness=1.0), stats.expon(scale=1 / 3.0)),
        (Gamma(rate_per_s=3.0, burstiness=0.5), stats.gamma(0.5, scale=1 / 1.5)),
        (Weibull(rate_per_s=3.0, cv=1.0), stats.expon(scale=1 / 3.0)),
    ],
    ids=["poisson", "gamma-1", "gamma-half", "weibull"],
)
def test_gaps_follow_their_law(arrivals: Any, law: Any) -> None:
    gaps = np.diff(arrivals.times(rng(), 50_000), prepend=0.0)
    assert stats.kstest(gaps, law.cdf).pvalue > 0.01


@given(st.floats(0.02, 50.0))
def test_a_weibull_has_the_variation_it_is_asked_for(cv: float) -> None:
    shape = Weibull(rate_per_s=1.0, cv=cv).shape
    assert stats.weibull_min(shape).std() / stats.weibull_min(shape).mean() == pytest.approx(cv, rel=1e-6)


def test_counts_of_a_poisson_process_have_equal_mean_and_variance() -> None:
    times = times_within(Poisson(rate_per_s=10.0), rng(), 20_000.0)
    counts = np.bincount(times.astype(np.int64), minlength=20_000)
    assert abs(counts.mean() - 10.0) <= 4.5 * np.sqrt(10.0 / 20_000)
    assert counts.var() == pytest.approx(10.0, abs=4.5 * 10.0 * np.sqrt(2.1 / 20_000))


def test_constant_and_all_at_once() -> None:
    assert Constant(rate_per_s=4.0).times(rng(), 3).tolist() == [0.0, 0.25, 0.5]
    assert AllAtOnce().times(rng(), 3).tolist() == [0.0, 0.0, 0.0]
    assert math.isinf(AllAtOnce().rate_per_s)


@pytest.mark.parametrize("arrivals", ALL, ids=lambda one: type(one).__name__)
@given(count=st.integers(0, 400), more=st.integers(0, 400), seed=st.integers(0, 2**31))
def test_times_ascend_and_asking_for_more_changes_none(
    arrivals: Any, count: int, more: int, seed: int
) -> None:
    times = arrivals.times(rng(seed), count)
    assert times.shape == (count,)
    assert np.all(times >= 0.0)
    assert np.all(np.diff(times) >= 0.0)
    assert arrivals.times(rng(seed), count + more)[:count].tolist() == times.tolist()


@given(st.floats(0.01, 1e4), st.floats(0.01, 100.0), st.floats(0.05, 20.0))
def test_another_rate_only_stretches_time(rate: float, factor: float, burstiness: float) -> None:
    for slow, fast in (
        (Poisson(rate_per_s=rate), Poisson(rate_per_s=rate * factor)),
        (
            Gamma(rate_per_s=rate, burstiness=burstiness),
            Gamma(rate_per_s=rate * factor, burstiness=burstiness),
        ),
        (Weibull(rate_per_s=rate, cv=burstiness), Weibull(rate_per_s=rate * factor, cv=burstiness)),
    ):
        assert fast.times(rng(), 50) * factor == pytest.approx(slow.times(rng(), 50), rel=1e-9)


def test_a_normalised_run_ends_when_its_rate_says() -> None:
    """As in vLLM's client: 30 requests at 2/s are all sent after 15 s, gaps in proportion."""
    plain = Gamma(rate_per_s=2.0, burstiness=0.5)
    times = Normalised(arrivals=plain).times(rng(), 30)
    assert times[-1] == pytest.approx(15.0, rel=1e-12)
    raw = plain.times(rng(), 30)
    assert times / raw == pytest.approx(np.full(30, 15.0 / raw[-1]))
    assert Normalised(arrivals=plain).times(rng(), 0).size == 0


def test_steps_of_the_rate_by_hand() -> None:
    """Expected requests 0, 1, 2, ... at 2/s for 1 s, nobody for 1 s, 1/s for 2 s, and round again."""
    steps = Varying(rates_per_s=[2.0, 0.0, 1.0], windows_s=[1.0, 1.0, 2.0], base=Constant(rate_per_s=123.0))
    assert steps.times(rng(), 8) == pytest.approx([0.0, 0.5, 2.0, 3.0, 4.0, 4.5, 6.0, 7.0], abs=1e-12)
    assert steps.rate_per_s == 1.0


def test_each_window_sees_its_own_rate() -> None:
    times = times_within(STEPS, rng(), 35.0 * 2000)
    place = times % 35.0
    for low, high, rate in ((0.0, 20.0, 3.0), (25.0, 35.0, 9.0)):
        expected = rate * (high - low) * 2000
        assert abs(np.sum((place >= low) & (place < high)) - expected) <= 4.5 * np.sqrt(expected)
    assert not np.any((place > 20.0 + 1e-6) & (place < 25.0 - 1e-6))


def test_a_day_is_a_cosine() -> None:
    times = times_within(DAY, rng(), 86400.0)
    for hour in range(24):
        low, high = 3600.0 * hour, 3600.0 * (hour + 1)
        turn = 2.0 * np.pi / 86400.0
        swing = (np.sin(turn * (high - 50400.0)) - np.sin(turn * (low - 50400.0))) / turn
        expected = 2.0 * (high - low + 0.8 * swing)
        assert abs(np.sum((times >= low) & (times < high)) - expected) <= 4.5 * np.sqrt(expected)
    assert DAY.rate_per_s == pytest.approx(2.0, rel=1e-12)


def test_a_rate_may_fall_to_nothing() -> None:
    night = Varying.sinusoidal(mean_rate_per_s=1.0, amplitude_fraction=1.0)
    assert night.rates_per_s.min() >= 0.0
    assert night.rate_per_s == pytest.approx(1.0, rel=1e-12)
    assert np.all(np.diff(night.times(rng(), 200_000)) >= 0.0)


def test_varying_keeps_the_burstiness_of_its_base() -> None:
    flat = Varying(rates_per_s=[5.0], windows_s=[7.0], base=Gamma(rate_per_s=99.0, burstiness=0.25))
    same = Gamma(rate_per_s=5.0, burstiness=0.25)
    assert flat.times(rng(), 1000) == pytest.approx(same.times(rng(), 1000), rel=1e-9)


def test_phases_run_one_after_the_other_and_again() -> None:
    times = times_within(STAGES, rng(), 70.0 * 300)
    place = times % 70.0
    assert not np.any((place >= 30.0) & (place < 40.0))
    for low, high, expected, cv in ((0.0, 30.0, 8.0 * 30 * 300, 1.0), (40.0, 70.0, 20.0 * 30 * 300, 1.42)):
        # each phase starts its gaps anew, which moves the mean of a bursty one by half a request
        found = np.sum((place >= low) & (place < high))
        assert abs(found - expected) <= 4.5 * cv * np.sqrt(expected) + 0.5 * (cv**2 - 1.0) * 300
    assert STAGES.rate_per_s == pytest.approx(12.0)


@given(st.floats(0.1, 50.0), st.floats(0.5, 30.0), st.integers(0, 2**31))
def test_times_within_are_all_there_are(rate: float, duration: float, seed: int) -> None:
    found = times_within(Gamma(rate_per_s=rate, burstiness=0.2), rng(seed), duration)
    every = Gamma(rate_per_s=rate, burstiness=0.2).times(rng(seed), found.size + 1)
    assert found.tolist() == every[:-1].tolist()
    assert every[-1] >= duration


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Poisson(rate_per_s=0.0), "Poisson: rate_per_s must be above 0, got 0.0"),
        (lambda: Poisson(rate_per_s=math.inf), "Poisson: rate_per_s must be a finite number, got inf"),
        (lambda: Poisson(rate_per_s="9"), "Poisson: rate_per_s must be a finite number, got '9'"),
        (lambda: Gamma(rate_per_s=1.0, burstiness=-1.0), "burstiness must be above 0, got -1.0"),
        (lambda: Gamma.from_cv(rate_per_s=1.0, cv=0.0), "cv must be above 0"),
        (lambda: Weibull(rate_per_s=1.0, cv=1000.0), "cv must be at most 100, got 1000.0"),
        (lambda: Constant(rate_per_s=-2.0), "Constant: rate_per_s must be above 0, got -2.0"),
        (lambda: Normalised(arrivals=AllAtOnce()), "Normalised: AllAtOnce has no finite rate"),
        (lambda: Varying(rates_per_s=[1.0], windows_s=[1.0, 2.0]), "windows_s has 2 rows, rates_per_s has 1"),
        (lambda: Varying(rates_per_s=[0.0], windows_s=[1.0]), "the largest of rates_per_s must be above 0"),
        (lambda: Varying(rates_per_s=[1.0, -1.0], windows_s=[1.0, 1.0]), "the smallest of rates_per_s"),
        (lambda: Varying(rates_per_s=[1.0], windows_s=[0.0]), "the smallest of windows_s must be above 0"),
        (lambda: Varying(rates_per_s=[], windows_s=[]), "rates_per_s must be a row of at least one number"),
        (lambda: Varying(rates_per_s=[math.nan], windows_s=[1.0]), "rates_per_s must be finite numbers"),
        (
            lambda: Varying.sinusoidal(mean_rate_per_s=1.0, amplitude_fraction=1.5),
            "amplitude_fraction must be at most 1, got 1.5",
        ),
        (lambda: Phases(phases=()), "none of its 0 phases has requests"),
        (lambda: Phase(duration_s=0.0, arrivals=None), "duration_s must be above 0, got 0.0"),
        (lambda: Phase(duration_s=1.0, arrivals=AllAtOnce()), "Phase: AllAtOnce has no finite rate"),
        (lambda: times_within(AllAtOnce(), rng(), 1.0), "AllAtOnce has no finite rate"),
        (lambda: times_within(Poisson(rate_per_s=1e6), rng(), 1e6), "are about 1e.12 requests; at most"),
        (
            lambda: Phases(phases=(Phase(duration_s=1.0, arrivals=Poisson(rate_per_s=1e-9)),)).times(
                rng(), 5
            ),
            "take over a million rounds",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
