"""Processes of sending times: renewal processes, all at once, and rates that change.

A process asked for more times with the same stream begins with those it gave before, so that a run can
be made longer without becoming another one; times scale exactly with the rate, so that runs at two rates
differ by the rate alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import Arrivals, FloatArray
from tokenroof.workload.inputs import MAX_REQUESTS, as_column, check_number

_CV_BOUNDS = (0.01, 100.0)
_STEPS_PER_PERIOD = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson:
    """Independent users: exponential gaps.

    Attributes
    ----------
    rate_per_s : float
        Mean rate. [1/s]
    """

    rate_per_s: float

    def __post_init__(self) -> None:
        check_number("Poisson", "rate_per_s", self.rate_per_s, above=0.0)

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]"""
        return _summed(rng.standard_exponential(count), 1.0 / self.rate_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gamma:
    """Gamma gaps, ``--burstiness`` of ``vllm bench serve``.

    Attributes
    ----------
    rate_per_s : float
        Mean rate, whatever the shape. [1/s]
    burstiness : float
        Shape of the gamma law: 1 is Poisson, below 1 burstier, above 1 more even; the coefficient of
        variation of the gaps is 1 / sqrt(burstiness).

    Notes
    -----
    That client also stretches its times so that the last lies at count / rate: ``Normalised`` does it.
    """

    rate_per_s: float
    burstiness: float

    def __post_init__(self) -> None:
        check_number("Gamma", "rate_per_s", self.rate_per_s, above=0.0)
        check_number("Gamma", "burstiness", self.burstiness, above=0.0)

    @classmethod
    def from_cv(cls, *, rate_per_s: float, cv: float) -> Gamma:
        """With gaps of this coefficient of variation, as ServeGen states its windows."""
        check_number("Gamma", "cv", cv, above=0.0)
        return cls(rate_per_s=rate_per_s, burstiness=1.0 / cv**2)

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]"""
        return _summed(rng.standard_gamma(self.burstiness, count), 1.0 / (self.rate_per_s * self.burstiness))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weibull:
    """Weibull gaps, the other law of ServeGen's windows.

    Attributes
    ----------
    rate_per_s : float
        Mean rate. [1/s]
    cv : float
        Coefficient of variation of the gaps, 0.01 to 100; 1 is Poisson.
    """

    rate_per_s: float
    cv: float

    def __post_init__(self) -> None:
        check_number("Weibull", "rate_per_s", self.rate_per_s, above=0.0)
        check_number("Weibull", "cv", self.cv, least=_CV_BOUNDS[0], most=_CV_BOUNDS[1])

    @property
    def shape(self) -> float:
        """Of the Weibull law, from cv^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1 by bisection."""
        low, high = math.log(0.1), math.log(1000.0)
        for _ in range(60):
            middle = (low + high) / 2.0
            inverse = math.exp(-middle)
            log_ratio = math.lgamma(1.0 + 2.0 * inverse) - 2.0 * math.lgamma(1.0 + inverse)
            low, high = (middle, high) if math.expm1(log_ratio) > self.cv**2 else (low, middle)
        return math.exp((low + high) / 2.0)

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]"""
        shape = self.shape
        return _summed(rng.weibull(shape, count), 1.0 / (self.rate_per_s * math.gamma(1.0 + 1.0 / shape)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One every so many seconds, the first at 0.

    Attributes
    ----------
    rate_per_s : float
        [1/s]
    """

    rate_per_s: float

    def __post_init__(self) -> None:
        check_number("Constant", "rate_per_s", self.rate_per_s, above=0.0)

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]"""
        return np.arange(count) / self.rate_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class AllAtOnce:
    """Everything at time 0, as offline benchmarks send it."""

    @property
    def rate_per_s(self) -> float:
        """Infinite. [1/s]"""
        return math.inf

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many zeros, shape (count,). [s]"""
        return np.zeros(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalised:
    """Stretched so that the last of all requests comes at count / rate, as ``vllm bench serve`` does.

    It takes the chance out of the rate of a short run. Asked for more times it gives others.

    Attributes
    ----------
    arrivals : Arrivals
        What is stretched.
    """

    arrivals: Arrivals

    def __post_init__(self) -> None:
        _finite_rate("Normalised", self.arrivals)

    @property
    def rate_per_s(self) -> float:
        """Mean rate, exactly kept. [1/s]"""
        return self.arrivals.rate_per_s

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]"""
        times = self.arrivals.times(rng, count)
        if count == 0 or times[-1] == 0.0:
            return times
        return times * float(count / self.arrivals.rate_per_s / times[-1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Varying:
    """A rate that changes from window to window; after the last the first begins again.

    Time is rescaled: a process of rate 1 is run in units of expected requests. For Poisson arrivals this
    is the exact inhomogeneous process; others keep their burstiness at every rate.

    Attributes
    ----------
    rates_per_s : FloatArray
        Rate of each window, at least 0, not all 0, shape (num_windows,). [1/s]
    windows_s : FloatArray
        How long each lasts, same shape. [s]
    base : Arrivals
        Its gaps, whatever its rate.

    Notes
    -----
    Source: time-rescaling theorem, D. Daley and D. Vere-Jones, An Introduction to the Theory of Point
    Processes, 2nd ed., theorem 7.4.I.
    """

    rates_per_s: FloatArray
    windows_s: FloatArray
    base: Arrivals = Poisson(rate_per_s=1.0)

    def __post_init__(self) -> None:
        for name in ("rates_per_s", "windows_s"):
            object.__setattr__(self, name, as_column("Varying", name, getattr(self, name), np.float64))
        if self.rates_per_s.size != self.windows_s.size:
            raise InputError(
                f"Varying: windows_s has {self.windows_s.size} rows, rates_per_s has {self.rates_per_s.size}."
            )
        check_number("Varying", "the smallest of rates_per_s", float(self.rates_per_s.min()))
        check_number("Varying", "the largest of rates_per_s", float(self.rates_per_s.max()), above=0.0)
        check_number("Varying", "the smallest of windows_s", float(self.windows_s.min()), above=0.0)
        _finite_rate("Varying", self.base)

    @classmethod
    def sinusoidal(
        cls,
        *,
        mean_rate_per_s: float,
        amplitude_fraction: float,
        period_s: float = 86400.0,
        peak_s: float = 50400.0,
        base: Arrivals | None = None,
    ) -> Varying:
        """A day: mean * (1 + amplitude * cos(2 pi (t - peak) / period)), as 1,440 windows' exact means.

        Parameters
        ----------
        mean_rate_per_s : float
            Over a period. [1/s]
        amplitude_fraction : float
            Half of highest minus lowest, over the mean, 0 to 1.
        period_s, peak_s : float
            Length; when the rate is highest (14:00 unless told). [s]
        base : Arrivals or None
            Its gaps; None: Poisson.
        """
        check_number("Varying", "mean_rate_per_s", mean_rate_per_s, above=0.0)
        check_number("Varying", "amplitude_fraction", amplitude_fraction, most=1.0)
        check_number("Varying", "period_s", period_s, above=0.0)
        check_number("Varying", "peak_s", peak_s)
        turns = np.arange(_STEPS_PER_PERIOD + 1) / _STEPS_PER_PERIOD - peak_s / period_s
        swing = np.diff(np.sin(2.0 * np.pi * turns)) * _STEPS_PER_PERIOD / (2.0 * np.pi)
        return cls(
            rates_per_s=mean_rate_per_s * np.maximum(1.0 + amplitude_fraction * swing, 0.0),
            windows_s=np.full(_STEPS_PER_PERIOD, period_s / _STEPS_PER_PERIOD),
            base=Poisson(rate_per_s=1.0) if base is None else base,
        )

    @property
    def rate_per_s(self) -> float:
        """Mean rate over a cycle. [1/s]"""
        return float(np.average(self.rates_per_s, weights=self.windows_s))

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]"""
        expected = np.concatenate(([0.0], np.cumsum(self.rates_per_s * self.windows_s)))
        edges_s = np.concatenate(([0.0], np.cumsum(self.windows_s)))
        unit = self.base.times(rng, count) * self.base.rate_per_s
        cycle = np.floor(unit / expected[-1])
        unit -= cycle * expected[-1]
        # a window without requests is a step of the inverse: np.interp takes its end
        times: FloatArray = np.interp(unit, expected, edges_s)
        times += cycle * edges_s[-1]
        # rounding may put a time before the end of the cycle after one behind it
        np.maximum.accumulate(times, out=times)
        return times


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time with a process of its own.

    Attributes
    ----------
    duration_s : float
        [s]
    arrivals : Arrivals or None
        None: nobody comes.
    """

    duration_s: float
    arrivals: Arrivals | None

    def __post_init__(self) -> None:
        check_number("Phase", "duration_s", self.duration_s, above=0.0)
        if self.arrivals is not None:
            _finite_rate("Phase", self.arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Processes one after the other (stages of a load test, ServeGen's windows); then the first again.

    Attributes
    ----------
    phases : tuple of Phase
        In order; at least one of them has requests.
    """

    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if not any(phase.arrivals is not None for phase in self.phases):
            raise InputError(
                f"Phases: none of its {len(self.phases)} phases has requests. Give one arrivals."
            )

    @property
    def rate_per_s(self) -> float:
        """Mean rate over a cycle. [1/s]"""
        expected = sum(p.arrivals.rate_per_s * p.duration_s for p in self.phases if p.arrivals is not None)
        return expected / sum(phase.duration_s for phase in self.phases)

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times, shape (count,). [s]

        Raises
        ------
        InputError
            The phases are so short, or their rates so low, that millions of them pass.
        """
        if count > 1e6 * self.rate_per_s * sum(phase.duration_s for phase in self.phases):
            raise InputError(
                f"Phases: {count} requests at {self.rate_per_s:g}/s take over a million rounds. "
                "Make the phases longer, or the rates higher."
            )
        parts: list[FloatArray] = []
        missing, start_s = count, 0.0
        while missing > 0:
            for phase in self.phases:
                if phase.arrivals is not None and missing > 0:
                    parts.append(start_s + times_within(phase.arrivals, rng, phase.duration_s))
                    missing -= parts[-1].size
                start_s += phase.duration_s
        return np.concatenate([*parts, np.empty(0)])[:count]


def times_within(arrivals: Arrivals, rng: np.random.Generator, duration_s: float) -> FloatArray:
    """All times below ``duration_s``, shape (number of them,). [s]

    Raises
    ------
    InputError
        The process has no finite rate, or the times are more than memory holds.
    """
    _finite_rate("duration_s", arrivals)
    expected = arrivals.rate_per_s * duration_s
    state = rng.bit_generator.state
    count = math.ceil(expected + 6.0 * math.sqrt(expected) + 16.0)
    while True:
        if count > MAX_REQUESTS:
            raise InputError(
                f"{duration_s:g} s at {arrivals.rate_per_s:g}/s are about {expected:.3g} requests; at most "
                f"{MAX_REQUESTS:,} are possible. Shorten the duration or lower the rate."
            )
        rng.bit_generator.state = state
        times = arrivals.times(rng, count)
        if times[-1] >= duration_s:
            return times[: int(np.searchsorted(times, duration_s, side="left"))]
        count *= 2


def _summed(gaps: FloatArray, unit_s: float) -> FloatArray:
    np.cumsum(gaps, out=gaps)
    gaps *= unit_s
    return gaps


def _finite_rate(owner: str, arrivals: Arrivals) -> None:
    if not math.isfinite(arrivals.rate_per_s):
        raise InputError(
            f"{owner}: {type(arrivals).__name__} has no finite rate. Give a process that has, as Poisson."
        )
