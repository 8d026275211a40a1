"""Distributions of token counts; every sampler is one vectorised draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import FloatArray, IntArray
from tokenroof.workload.inputs import as_column, check_number, check_whole

_NORMAL = NormalDist()
_LEAST_KEPT_FRACTION = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always the same length.

    Attributes
    ----------
    tokens : int
        [tokens]
    """

    tokens: int

    def __post_init__(self) -> None:
        check_whole("Fixed", "tokens", self.tokens, least=1)

    @property
    def mean_tokens(self) -> float:
        """Expected length. [tokens]"""
        return float(self.tokens)

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        return np.full(count, self.tokens, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Whole numbers from the lowest to the highest, all equally likely.

    Attributes
    ----------
    low_tokens, high_tokens : int
        Both included. [tokens]
    """

    low_tokens: int
    high_tokens: int

    def __post_init__(self) -> None:
        check_whole("Uniform", "low_tokens", self.low_tokens, least=1)
        check_whole("Uniform", "high_tokens", self.high_tokens, least=1)
        if self.high_tokens < self.low_tokens:
            raise InputError(
                f"Uniform: high_tokens must be at least low_tokens ({self.low_tokens}), "
                f"got {self.high_tokens}."
            )

    @property
    def mean_tokens(self) -> float:
        """Expected length. [tokens]"""
        return (self.low_tokens + self.high_tokens) / 2.0

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        return rng.integers(self.low_tokens, self.high_tokens, size=count, endpoint=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformRange:
    """``--random-range-ratio`` of SGLang's and InferenceMAX's clients: floor(ratio * nominal) .. nominal.

    Attributes
    ----------
    nominal_tokens : int
        The longest. [tokens]
    range_ratio : float
        The shortest over the longest, 0 to 1; 1 is a fixed length. At 0 the shortest is one token.

    Notes
    -----
    ``vllm bench serve`` gives the same flag another meaning, see :class:`UniformAround`: its ratio 0.2
    is nominal plus and minus 20 %, ratio 0.8 here is 80 % to 100 %.
    """

    nominal_tokens: int
    range_ratio: float

    def __post_init__(self) -> None:
        check_whole("UniformRange", "nominal_tokens", self.nominal_tokens, least=1)
        check_number("UniformRange", "range_ratio", self.range_ratio, most=1.0)

    @property
    def bounds(self) -> Uniform:
        """The same with its lowest and highest length."""
        low = max(1, int(self.nominal_tokens * self.range_ratio))
        return Uniform(low_tokens=low, high_tokens=self.nominal_tokens)

    @property
    def mean_tokens(self) -> float:
        """Expected length. [tokens]"""
        return self.bounds.mean_tokens

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        return self.bounds.sample(rng, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformAround:
    """``--random-range-ratio`` of ``vllm bench serve``: nominal * (1 - ratio) .. nominal * (1 + ratio).

    Attributes
    ----------
    nominal_tokens : int
        The middle. [tokens]
    range_ratio : float
        Half the width over the middle, at least 0 and below 1; 0 is a fixed length.

    Notes
    -----
    The lowest is rounded down (to one token at least), the highest up, as in vLLM's random data set.
    """

    nominal_tokens: int
    range_ratio: float

    def __post_init__(self) -> None:
        check_whole("UniformAround", "nominal_tokens", self.nominal_tokens, least=1)
        check_number("UniformAround", "range_ratio", self.range_ratio)
        if self.range_ratio >= 1.0:
            raise InputError(f"UniformAround: range_ratio must be below 1, got {self.range_ratio!r}.")

    @property
    def bounds(self) -> Uniform:
        """The same with its lowest and highest length."""
        low = max(1, math.floor(self.nominal_tokens * (1.0 - self.range_ratio)))
        return Uniform(low_tokens=low, high_tokens=math.ceil(self.nominal_tokens * (1.0 + self.range_ratio)))

    @property
    def mean_tokens(self) -> float:
        """Expected length. [tokens]"""
        return self.bounds.mean_tokens

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        return self.bounds.sample(rng, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Lengths whose logarithm is normal, rounded; those outside the bounds are drawn again.

    Attributes
    ----------
    median_tokens : float
        Of the distribution before it is bounded. [tokens]
    sigma : float
        Standard deviation of the logarithm.
    max_tokens, min_tokens : int
        Bounds, both included. [tokens]
    """

    median_tokens: float
    sigma: float
    max_tokens: int
    min_tokens: int = 1

    def __post_init__(self) -> None:
        check_number("Lognormal", "median_tokens", self.median_tokens, above=0.0)
        check_number("Lognormal", "sigma", self.sigma, above=0.0)
        _check_bounds("Lognormal", self.min_tokens, self.max_tokens)
        kept = _kept_fraction(self.median_tokens, self.sigma, self.min_tokens, self.max_tokens)
        if kept < _LEAST_KEPT_FRACTION:
            raise InputError(
                f"Lognormal: under 1 % of lengths with median_tokens {self.median_tokens:g} and sigma "
                f"{self.sigma:g} lie in {self.min_tokens}..{self.max_tokens}. Widen the bounds."
            )

    @classmethod
    def from_mean(
        cls, *, mean_tokens: float, sigma: float, max_tokens: int, min_tokens: int = 1
    ) -> Lognormal:
        """The one whose mean, once bounded, is as given.

        Raises
        ------
        InputError
            No median within reach has this mean under these bounds.
        """
        check_number("Lognormal", "mean_tokens", mean_tokens, above=0.0)
        check_number("Lognormal", "sigma", sigma, above=0.0)
        _check_bounds("Lognormal", min_tokens, max_tokens)

        def mean_of(log_median: float) -> float:
            return _lognormal_mean(math.exp(log_median), sigma, min_tokens, max_tokens)

        # two standard deviations outside the bounds hardly anything is kept
        low, high = math.log(min_tokens) - 2.0 * sigma, math.log(max_tokens) + 2.0 * sigma
        if not mean_of(low) <= mean_tokens <= mean_of(high):
            raise InputError(
                f"Lognormal: mean_tokens must lie in {mean_of(low):.4g}..{mean_of(high):.4g} for sigma "
                f"{sigma:g} and lengths in {min_tokens}..{max_tokens}, got {mean_tokens:g}."
            )
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if mean_of(middle) < mean_tokens else (low, middle)
        return cls(
            median_tokens=math.exp((low + high) / 2.0),
            sigma=sigma,
            max_tokens=max_tokens,
            min_tokens=min_tokens,
        )

    @property
    def mean_tokens(self) -> float:
        """Expected length with its bounds, before rounding, which moves it by under 0.1. [tokens]"""
        return _lognormal_mean(self.median_tokens, self.sigma, self.min_tokens, self.max_tokens)

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        mu = math.log(self.median_tokens)
        return _redrawn(lambda n: rng.lognormal(mu, self.sigma, n), count, self.min_tokens, self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Bell-shaped lengths (GuideLLM's and AIPerf's ``stdev``), rounded; those outside are drawn again.

    Attributes
    ----------
    center_tokens, stdev_tokens : float
        Mean and standard deviation before the lengths are bounded. [tokens]
    max_tokens, min_tokens : int
        Bounds, both included. [tokens]
    """

    center_tokens: float
    stdev_tokens: float
    max_tokens: int
    min_tokens: int = 1

    def __post_init__(self) -> None:
        check_number("Normal", "center_tokens", self.center_tokens, above=0.0)
        check_number("Normal", "stdev_tokens", self.stdev_tokens, above=0.0)
        _check_bounds("Normal", self.min_tokens, self.max_tokens)
        low, high = self._bounds
        if _NORMAL.cdf(high) - _NORMAL.cdf(low) < _LEAST_KEPT_FRACTION:
            raise InputError(
                f"Normal: under 1 % of lengths with center_tokens {self.center_tokens:g} and stdev_tokens "
                f"{self.stdev_tokens:g} lie in {self.min_tokens}..{self.max_tokens}. Widen the bounds."
            )

    @property
    def _bounds(self) -> tuple[float, float]:
        low = (self.min_tokens - 0.5 - self.center_tokens) / self.stdev_tokens
        return low, (self.max_tokens + 0.5 - self.center_tokens) / self.stdev_tokens

    @property
    def mean_tokens(self) -> float:
        """Expected length with its bounds, before rounding, which moves it by under 0.1. [tokens]"""
        low, high = self._bounds
        kept = _NORMAL.cdf(high) - _NORMAL.cdf(low)
        return self.center_tokens + self.stdev_tokens * (_NORMAL.pdf(low) - _NORMAL.pdf(high)) / kept

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        center, stdev = self.center_tokens, self.stdev_tokens
        return _redrawn(lambda n: rng.normal(center, stdev, n), count, self.min_tokens, self.max_tokens)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Empirical:
    """Observed lengths, drawn with replacement.

    Attributes
    ----------
    lengths_tokens : IntArray
        Observed lengths, or those of a table, shape (num_observed,). [tokens]
    weights : FloatArray or None
        How likely each is, of any sum, same shape; None: equally.
    """

    lengths_tokens: IntArray
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        lengths_tokens = _observed("Empirical", "lengths_tokens", self.lengths_tokens)
        object.__setattr__(self, "lengths_tokens", lengths_tokens)
        object.__setattr__(self, "weights", check_weights("Empirical", self.weights, lengths_tokens.size))

    @classmethod
    def from_table(cls, probabilities: Mapping[int, float]) -> Empirical:
        """From {length: probability}, of any sum."""
        return cls(
            lengths_tokens=np.array(list(probabilities)), weights=np.array(list(probabilities.values()))
        )

    @property
    def mean_tokens(self) -> float:
        """Expected length. [tokens]"""
        return float(np.average(self.lengths_tokens, weights=self.weights))

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths, shape (count,). [tokens]"""
        return self.lengths_tokens[draw_rows(rng, count, self.lengths_tokens.size, self.weights)]

    def scaled(self, mean_tokens: float) -> Empirical:
        """The same shape with another mean, but for rounding and for lengths that would fall below 1."""
        check_number("Empirical", "mean_tokens", mean_tokens, above=0.0)
        return Empirical(
            lengths_tokens=rescaled(self.lengths_tokens, mean_tokens / self.mean_tokens), weights=self.weights
        )


def draw_rows(rng: np.random.Generator, count: int, size: int, weights: FloatArray | None) -> IntArray:
    """So many row numbers below ``size``, by weight, shape (count,)."""
    if weights is None:
        return rng.integers(size, size=count)
    reached = np.cumsum(weights)
    rows: IntArray = np.searchsorted(reached, rng.random(count) * reached[-1], side="right")
    # a product rounded up to the whole sum would point past the last row that has a weight
    last: np.int64 = np.flatnonzero(weights)[-1]
    return np.minimum(rows, last)


def rescaled(lengths_tokens: IntArray, factor: float) -> IntArray:
    """Lengths times a factor, rounded, at least 1. [tokens]"""
    rounded: FloatArray = np.maximum(np.rint(lengths_tokens * factor), 1.0)
    return rounded.astype(np.int64)


def check_weights(owner: str, weights: FloatArray | None, size: int) -> FloatArray | None:
    """Weights as a read-only column, or None.

    Raises
    ------
    InputError
        They are not one per row, negative, or sum up to nothing.
    """
    if weights is None:
        return None
    column: FloatArray = as_column(owner, "weights", weights, np.float64)
    if column.size != size:
        raise InputError(f"{owner}: weights has {column.size} rows, the lengths have {size}.")
    check_number(owner, "the smallest of weights", float(column.min()))
    check_number(owner, "the sum of weights", float(column.sum()), above=0.0)
    return column


def _observed(owner: str, name: str, values: IntArray) -> IntArray:
    column: IntArray = as_column(owner, name, values, np.int64)
    check_whole(owner, f"the smallest of {name}", int(column.min()), least=1)
    check_whole(owner, f"the largest of {name}", int(column.max()), least=1)
    return column


def _check_bounds(owner: str, min_tokens: int, max_tokens: int) -> None:
    check_whole(owner, "min_tokens", min_tokens, least=1)
    check_whole(owner, "max_tokens", max_tokens, least=1)
    if max_tokens < min_tokens:
        raise InputError(f"{owner}: max_tokens must be at least min_tokens ({min_tokens}), got {max_tokens}.")


def _kept_fraction(median: float, sigma: float, low: int, high: int, shift: float = 0.0) -> float:
    """Part of a lognormal that rounds into low..high; with ``shift`` sigma: part of its first moment."""
    return _NORMAL.cdf(math.log((high + 0.5) / median) / sigma - shift) - _NORMAL.cdf(
        math.log((low - 0.5) / median) / sigma - shift
    )


def _lognormal_mean(median: float, sigma: float, low: int, high: int) -> float:
    """Mean of a lognormal within bounds: the part of its first moment over the part kept. [tokens]"""
    moment = _kept_fraction(median, sigma, low, high, shift=sigma)
    return median * math.exp(0.5 * sigma**2) * moment / _kept_fraction(median, sigma, low, high)


def _redrawn(draw: Callable[[int], FloatArray], count: int, low: int, high: int) -> IntArray:
    drawn = np.rint(draw(count))
    while (outside := np.flatnonzero((drawn < low) | (drawn > high))).size:
        drawn[outside] = np.rint(draw(outside.size))
    return drawn.astype(np.int64)
