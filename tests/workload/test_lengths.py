"""Lengths and delays: moments within sampling error, bounds, shapes kept, refusals in plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tokenroof.errors import InputError
from tokenroof.workload.delays import Delays, EmpiricalDelay, ExponentialDelay, FixedDelay, LognormalDelay
from tokenroof.workload.lengths import (
    Empirical,
    Fixed,
    Lognormal,
    Normal,
    Uniform,
    UniformAround,
    UniformRange,
)
from tokenroof.workload.pairs import Independent, Joint

DRAWS = 200_000
LENGTHS = [
    Fixed(tokens=17),
    Uniform(low_tokens=3, high_tokens=9),
    UniformRange(nominal_tokens=1024, range_ratio=0.8),
    UniformAround(nominal_tokens=1024, range_ratio=0.2),
    Lognormal(median_tokens=300.0, sigma=1.2, max_tokens=8192),
    Lognormal(median_tokens=40.0, sigma=1.0, max_tokens=60, min_tokens=20),
    Lognormal.from_mean(mean_tokens=500.0, sigma=1.0, max_tokens=2048),
    Normal(center_tokens=550.0, stdev_tokens=150.0, max_tokens=4096),
    Normal(center_tokens=5.0, stdev_tokens=10.0, max_tokens=40),
    Empirical(lengths_tokens=[5, 5, 100, 7]),
    Empirical.from_table({10: 0.2, 20: 0.5, 4000: 0.3}),
]
DELAYS = [
    FixedDelay(delay_s=2.5),
    ExponentialDelay(mean_s=4.0),
    LognormalDelay(median_s=5.0, sigma=1.0, max_s=60.0),
    LognormalDelay(median_s=5.0, sigma=1.5, max_s=6.0),
    EmpiricalDelay(times_s=[0.0, 1.0, 30.0]),
]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("lengths", LENGTHS, ids=repr)
def test_the_mean_is_the_one_promised(lengths: Any) -> None:
    drawn = lengths.sample(rng(), DRAWS)
    assert drawn.dtype == np.int64
    assert drawn.shape == (DRAWS,)
    # lognormal and normal state their mean before rounding, up to a tenth of a token away
    rounding = 0.1 if isinstance(lengths, Lognormal | Normal) else 0.0
    assert abs(drawn.mean() - lengths.mean_tokens) <= 4.5 * drawn.std() / np.sqrt(DRAWS) + rounding


@pytest.mark.parametrize("delays", DELAYS, ids=repr)
def test_the_mean_delay_is_the_one_promised(delays: Delays) -> None:
    drawn = delays.sample(rng(), DRAWS)
    assert drawn.min() >= 0.0
    assert abs(drawn.mean() - delays.mean_s) <= 4.5 * drawn.std() / np.sqrt(DRAWS) + 1e-12


@pytest.mark.parametrize("sampled", [*LENGTHS, *DELAYS], ids=repr)
def test_a_stream_gives_the_same_again(sampled: Any) -> None:
    assert sampled.sample(rng(), 1000).tobytes() == sampled.sample(rng(), 1000).tobytes()
    assert sampled.sample(rng(), 0).size == 0


def test_the_two_meanings_of_a_range_ratio() -> None:
    """1024 tokens: 819..1024 for ratio 0.8 of SGLang's client, 819..1229 for ratio 0.2 of vLLM's."""
    below = UniformRange(nominal_tokens=1024, range_ratio=0.8)
    around = UniformAround(nominal_tokens=1024, range_ratio=0.2)
    assert below.bounds == Uniform(low_tokens=819, high_tokens=1024)
    assert around.bounds == Uniform(low_tokens=819, high_tokens=1229)
    assert UniformRange(nominal_tokens=1000, range_ratio=0.8).mean_tokens == 900.0
    assert UniformRange(nominal_tokens=100, range_ratio=0.0).bounds.low_tokens == 1


@given(st.integers(1, 5000), st.floats(0.0, 1.0), st.integers(0, 2**31))
def test_a_range_is_kept_and_reached(nominal: int, ratio: float, seed: int) -> None:
    low = max(1, int(nominal * ratio))
    drawn = UniformRange(nominal_tokens=nominal, range_ratio=ratio).sample(rng(seed), 400)
    assert low <= drawn.min()
    assert drawn.max() <= nominal
    if nominal - low < 8:
        assert set(drawn.tolist()) == set(range(low, nominal + 1))


@given(st.floats(5.0, 2000.0), st.floats(0.05, 2.0), st.integers(0, 2**31))
def test_a_lognormal_stays_within_its_bounds(median: float, sigma: float, seed: int) -> None:
    lengths = Lognormal(median_tokens=median, sigma=sigma, max_tokens=int(2 * median), min_tokens=2)
    drawn = lengths.sample(rng(seed), 500)
    assert drawn.min() >= 2
    assert drawn.max() <= 2 * median
    assert 2.0 <= lengths.mean_tokens <= 2 * median


def test_a_lognormal_has_its_median_and_its_sigma() -> None:
    drawn = Lognormal(median_tokens=5000.0, sigma=0.5, max_tokens=10**7).sample(rng(), DRAWS)
    assert stats.kstest(np.log(drawn / 5000.0) / 0.5, "norm").pvalue > 0.01


def test_a_bounded_lognormal_is_the_unbounded_one_conditioned_not_clipped() -> None:
    drawn = Lognormal(median_tokens=1000.0, sigma=1.0, max_tokens=2000).sample(rng(), DRAWS)
    assert np.mean(drawn == 2000) < 0.001
    whole = stats.lognorm(s=1.0, scale=1000.0)
    expected = whole.cdf(1000.5) / whole.cdf(2000.5)
    assert abs(np.mean(drawn <= 1000) - expected) < 4.5 * 0.5 / np.sqrt(DRAWS)


@given(st.floats(2.0, 4000.0), st.floats(0.1, 1.5))
def test_a_lognormal_from_a_mean_has_it_despite_its_bounds(mean: float, sigma: float) -> None:
    lengths = Lognormal.from_mean(mean_tokens=mean, sigma=sigma, max_tokens=8192)
    assert lengths.mean_tokens == pytest.approx(mean, rel=1e-9)


def test_a_table_is_drawn_in_its_proportions() -> None:
    table = {1: 2.0, 7: 0.0, 8: 5.0, 900: 3.0}
    drawn = Empirical.from_table(table).sample(rng(), DRAWS)
    assert set(np.unique(drawn)) == {1, 8, 900}
    for length, weight in table.items():
        share = weight / 10.0
        assert abs(np.mean(drawn == length) - share) <= 4.5 * np.sqrt(share * (1 - share) / DRAWS)


def test_observed_lengths_keep_their_shape_at_another_mean() -> None:
    observed = Lognormal(median_tokens=700.0, sigma=1.0, max_tokens=20000).sample(rng(), 5000)
    scaled = Empirical(lengths_tokens=observed).scaled(2000.0)
    assert scaled.mean_tokens == pytest.approx(2000.0, rel=1e-3)
    for percent in (5, 50, 95):
        ratio = np.percentile(scaled.lengths_tokens, percent) / np.percentile(observed, percent)
        assert ratio == pytest.approx(2000.0 / observed.mean(), rel=0.01)


def test_pairs_stay_pairs() -> None:
    isl = rng(3).integers(1, 4000, size=300)
    osl = np.maximum(1, 4100 - isl)
    joint = Joint(isl_tokens=isl, osl_tokens=osl)
    drawn_isl, drawn_osl = joint.sample(rng(), DRAWS)
    assert set(zip(drawn_isl, drawn_osl, strict=True)) == set(zip(isl, osl, strict=True))
    assert np.corrcoef(drawn_isl, drawn_osl)[0, 1] == pytest.approx(-1.0, abs=1e-12)
    other = joint.scaled(mean_isl_tokens=500.0, mean_osl_tokens=90.0)
    assert other.mean_isl_tokens == pytest.approx(500.0, rel=1e-3)
    assert other.mean_osl_tokens == pytest.approx(90.0, rel=1e-2)


def test_weighted_pairs_have_weighted_means() -> None:
    joint = Joint(isl_tokens=[10, 1000], osl_tokens=[500, 5], weights=[3.0, 1.0])
    isl, osl = joint.sample(rng(), DRAWS)
    assert (joint.mean_isl_tokens, joint.mean_osl_tokens) == (257.5, 376.25)
    assert abs(isl.mean() - 257.5) <= 4.5 * isl.std() / np.sqrt(DRAWS)
    assert abs(osl.mean() - 376.25) <= 4.5 * osl.std() / np.sqrt(DRAWS)


def test_independent_lengths_are_uncorrelated_even_if_alike() -> None:
    alike = Uniform(low_tokens=1, high_tokens=100)
    isl, osl = Independent(isl=alike, osl=alike).sample(rng(), DRAWS)
    assert abs(np.corrcoef(isl, osl)[0, 1]) < 4.5 / np.sqrt(DRAWS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(tokens=0), "Fixed: tokens must be at least 1, got 0"),
        (lambda: Fixed(tokens=2.5), r"Fixed: tokens must be a whole number, got 2\.5"),
        (lambda: Fixed(tokens=2**31), "Fixed: tokens must be at most 1073741824"),
        (
            lambda: Uniform(low_tokens=9, high_tokens=8),
            r"high_tokens must be at least low_tokens \(9\), got 8",
        ),
        (lambda: UniformRange(nominal_tokens=9, range_ratio=1.2), "range_ratio must be at most 1, got 1.2"),
        (
            lambda: UniformRange(nominal_tokens=9, range_ratio=float("nan")),
            "range_ratio must be a finite number",
        ),
        (lambda: UniformAround(nominal_tokens=9, range_ratio=1.0), "range_ratio must be below 1, got 1.0"),
        (
            lambda: Lognormal(median_tokens=-3.0, sigma=1.0, max_tokens=9),
            "median_tokens must be above 0, got -3",
        ),
        (lambda: Lognormal(median_tokens=3.0, sigma=0.0, max_tokens=9), "sigma must be above 0, got 0.0"),
        (lambda: Lognormal(median_tokens=1e6, sigma=0.5, max_tokens=9), "under 1 % of lengths"),
        (lambda: Lognormal.from_mean(mean_tokens=9.5, sigma=1.0, max_tokens=9), "mean_tokens must lie in"),
        (lambda: Normal(center_tokens=9.0, stdev_tokens=1.0, max_tokens=3), "under 1 % of lengths"),
        (
            lambda: Normal(center_tokens=9.0, stdev_tokens=1.0, max_tokens=3, min_tokens=4),
            "max_tokens must be",
        ),
        (lambda: Empirical(lengths_tokens=[]), "lengths_tokens must be a row of at least one number"),
        (
            lambda: Empirical(lengths_tokens=[4, 0]),
            "the smallest of lengths_tokens must be at least 1, got 0",
        ),
        (lambda: Empirical(lengths_tokens=[4.5]), "must be whole numbers, got 4.5 at position 0"),
        (lambda: Empirical(lengths_tokens=["x"]), "lengths_tokens must be numbers"),
        (lambda: Empirical(lengths_tokens=[4, 5], weights=[1.0]), "weights has 1 rows, the lengths have 2"),
        (
            lambda: Empirical(lengths_tokens=[4, 5], weights=[1.0, -1.0]),
            "smallest of weights must be at least 0",
        ),
        (lambda: Empirical(lengths_tokens=[4, 5], weights=[0.0, 0.0]), "the sum of weights must be above 0"),
        (lambda: Joint(isl_tokens=[1, 2], osl_tokens=[1]), "osl_tokens has 1 rows, isl_tokens has 2"),
        (lambda: Joint(isl_tokens=[1, 2], osl_tokens=[1, -1]), "smallest of osl_tokens must be at least 1"),
        (lambda: FixedDelay(delay_s=-1.0), "delay_s must be at least 0, got -1.0"),
        (lambda: ExponentialDelay(mean_s=0.0), "mean_s must be above 0"),
        (lambda: LognormalDelay(median_s=60.0, sigma=0.5, max_s=1.0), "max_s 1 leaves under 1 %"),
        (lambda: EmpiricalDelay(times_s=[1.0, -2.0]), "the smallest of times_s must be at least 0, got -2.0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
