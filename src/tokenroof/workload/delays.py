"""Distributions of waiting times of a client: a user's thinking, a tool's work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import FloatArray
from tokenroof.workload.inputs import as_column, check_number


class Delays(Protocol):
    """A distribution of times."""

    @property
    def mean_s(self) -> float:
        """Expected time. [s]"""
        ...

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many times of at least 0, shape (count,). [s]"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedDelay:
    """Always the same time.

    Attributes
    ----------
    delay_s : float
        [s]
    """

    delay_s: float = 0.0

    def __post_init__(self) -> None:
        check_number("FixedDelay", "delay_s", self.delay_s)

    @property
    def mean_s(self) -> float:
        """Expected time. [s]"""
        return float(self.delay_s)

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many times, shape (count,). [s]"""
        return np.full(count, float(self.delay_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialDelay:
    """Memoryless times, the thinking of the textbook.

    Attributes
    ----------
    mean_s : float
        [s]
    """

    mean_s: float

    def __post_init__(self) -> None:
        check_number("ExponentialDelay", "mean_s", self.mean_s, above=0.0)

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many times, shape (count,). [s]"""
        return rng.exponential(self.mean_s, count)


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalDelay:
    """Times with a long tail, none above a limit: most tools answer at once, some take minutes.

    Attributes
    ----------
    median_s : float
        Before the limit. [s]
    sigma : float
        Standard deviation of the logarithm.
    max_s : float
        Longer times are drawn again. [s]
    """

    median_s: float
    sigma: float
    max_s: float

    def __post_init__(self) -> None:
        check_number("LognormalDelay", "median_s", self.median_s, above=0.0)
        check_number("LognormalDelay", "sigma", self.sigma, above=0.0)
        check_number("LognormalDelay", "max_s", self.max_s, above=0.0)
        if self._kept_fraction(0.0) < 0.01:
            raise InputError(
                f"LognormalDelay: max_s {self.max_s:g} leaves under 1 % of times with median_s "
                f"{self.median_s:g} and sigma {self.sigma:g}. Raise max_s."
            )

    @property
    def mean_s(self) -> float:
        """Expected time, with the limit. [s]"""
        whole = self.median_s * math.exp(0.5 * self.sigma**2)
        return whole * self._kept_fraction(self.sigma) / self._kept_fraction(0.0)

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many times, shape (count,). [s]"""
        drawn = rng.lognormal(math.log(self.median_s), self.sigma, count)
        while (long := np.flatnonzero(drawn > self.max_s)).size:
            drawn[long] = rng.lognormal(math.log(self.median_s), self.sigma, long.size)
        return drawn

    def _kept_fraction(self, shift: float) -> float:
        return NormalDist().cdf(math.log(self.max_s / self.median_s) / self.sigma - shift)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmpiricalDelay:
    """Observed times, drawn with replacement.

    Attributes
    ----------
    times_s : FloatArray
        What was observed, shape (num_observed,). [s]
    """

    times_s: FloatArray

    def __post_init__(self) -> None:
        times_s = as_column("EmpiricalDelay", "times_s", self.times_s, np.float64)
        check_number("EmpiricalDelay", "the smallest of times_s", float(times_s.min()))
        object.__setattr__(self, "times_s", times_s)

    @property
    def mean_s(self) -> float:
        """Expected time. [s]"""
        return float(self.times_s.mean())

    def sample(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many times, shape (count,). [s]"""
        return self.times_s[rng.integers(self.times_s.size, size=count)]
