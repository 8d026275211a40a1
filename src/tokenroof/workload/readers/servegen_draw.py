"""Requests drawn from the clients of ServeGen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, FloatArray, IntArray, RequestClass, Requests
from tokenroof.workload.inputs import MAX_REQUESTS
from tokenroof.workload.readers.core import Dropped
from tokenroof.workload.readers.servegen_tables import TableSet

POISSON, GAMMA, WEIBULL = 0, 1, 2
"""Distribution of the gaps between requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time in which one client behaves in one way.

    Attributes
    ----------
    start_s, stop_s : float
        From the begin of the part asked for. [s]
    rate_per_s : float
        Requests per second, as recorded. [1/s]
    gaps : int
        ``POISSON``, ``GAMMA`` or ``WEIBULL``.
    shape : float
        Of the gaps; their scale follows from the rate.
    table : int
        Row of the tables of lengths.
    """

    start_s: float
    stop_s: float
    rate_per_s: float
    gaps: int
    shape: float
    table: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServeGenClients:
    """A ``Workload`` that draws requests window by window, all clients merged.

    In each window a client sends as many requests as its rate times the window says (a fraction is rounded
    up or down at random, so that the mean is right); the gaps before, between and after them are drawn
    from the client's distribution and scaled to fill the window, as ServeGen does. ServeGen itself draws no
    gap after the last request and so loses one request per window.

    Attributes
    ----------
    windows : tuple of Window
        All clients', in any order.
    tables : tuple of TableSet
        Lengths.
    duration_s : float
        Of the part asked for; requests lie in 0..duration_s. [s]
    asked_rate_per_s : float or None
        Mean rate to scale to; None for rates as recorded. [1/s]
    coupled_lengths : bool
        One random number per request for all its lengths.
    label, source, dropped, notes
        As in ``Trace``.
    """

    windows: tuple[Window, ...]
    tables: tuple[TableSet, ...]
    duration_s: float
    asked_rate_per_s: float | None
    coupled_lengths: bool
    label: str
    source: str
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    format: ClassVar[str] = "servegen"

    @property
    def recorded_rate_per_s(self) -> float:
        """Mean rate of all clients. [1/s]"""
        return sum(w.rate_per_s * (w.stop_s - w.start_s) for w in self.windows) / self.duration_s

    def requests(self, seed: int) -> Requests:
        """Requests of all clients; times count from the begin of the part asked for.

        Raises
        ------
        InputError
            Too many requests, or by chance not a single one.
        """
        rng = np.random.default_rng(seed)
        factor = 1.0 if self.asked_rate_per_s is None else self.asked_rate_per_s / self.recorded_rate_per_s
        expected = factor * self.recorded_rate_per_s * self.duration_s
        if expected > MAX_REQUESTS:
            raise InputError(f"{self.label}: {expected:.3g} requests, at most {MAX_REQUESTS:,}. Take a part.")
        times: list[FloatArray] = []
        lengths: list[tuple[IntArray, IntArray]] = []
        for window in self.windows:
            expected = window.rate_per_s * factor * (window.stop_s - window.start_s)
            count = int(expected + rng.random())
            if count:
                times.append(_times(rng, window, count))
                lengths.append(self._lengths(rng, self.tables[window.table], count))
        if not times:
            raise InputError(
                f"{self.label}: not one request was drawn. Ask for a longer duration_s or a higher rate."
            )
        arrival_s = np.concatenate(times)
        order = np.argsort(arrival_s, kind="stable")
        none = np.full(order.size, NOBODY, dtype=np.int64)
        return Requests(
            arrival_s=arrival_s[order],
            isl_tokens=np.concatenate([isl for isl, _ in lengths])[order],
            osl_tokens=np.concatenate([osl for _, osl in lengths])[order],
            follows=none,
            session=none,
            class_index=np.zeros(order.size, dtype=np.int64),
            classes=(RequestClass(),),
            label=self.label,
            source=self.source,
        )

    def _lengths(self, rng: np.random.Generator, table: TableSet, count: int) -> tuple[IntArray, IntArray]:
        """Prompts and answers, at least 1 token each. [tokens]"""
        uniform = rng.random(count)
        isl = table.prompt.at(uniform)
        osl = table.answer.at(uniform if self.coupled_lengths else rng.random(count))
        for how_many, size in table.parts:
            pieces = how_many.at(uniform if self.coupled_lengths else rng.random(count))
            tokens = size.at(rng.random(int(pieces.sum())))
            np.add.at(isl, np.repeat(np.arange(count), pieces), tokens)
        return np.maximum(isl, 1), np.maximum(osl, 1)


def _times(rng: np.random.Generator, window: Window, count: int) -> FloatArray:
    """Ascending times within a window, shape (count,). [s]"""
    total = 0.0
    while not 0.0 < total < np.inf:  # with a tiny shape all gaps can underflow at once
        if window.gaps == GAMMA:
            gaps = rng.gamma(window.shape, size=count + 1)
        elif window.gaps == WEIBULL:
            gaps = rng.weibull(window.shape, size=count + 1)
        else:
            gaps = rng.exponential(size=count + 1)
        total = float(gaps.sum())
    share = np.cumsum(gaps)[:-1] / total
    return np.asarray(window.start_s + share * (window.stop_s - window.start_s), dtype=np.float64)
