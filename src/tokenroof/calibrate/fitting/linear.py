"""Residuals as linear functions of parameters: which of them the rows can tell, and their values.

Coordinates are in units of the prior's spread from what is expected, so that the prior is a standard
normal of every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]

_ROUNDS = 12
_EDGE = 1e-6
_NOTICED = 0.02
"""Spreads that a residual moves by when a parameter moves by one of its own; less says nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Residuals around one point.

    Attributes
    ----------
    slopes : FloatArray
        Of the residuals, in units of their spread, by coordinate, shape (num_residuals, num_candidates).
    residuals : FloatArray
        At ``at``, in units of their spread, shape (num_residuals,).
    weights : FloatArray
        Of their squares, shape (num_residuals,).
    pairs : IntArray
        Which pair of a chip and a model each residual is of, shape (num_residuals,).
    at, low, high : FloatArray
        The point, and the bounds, shape (num_candidates,).
    huber : float
        Residuals beyond count linearly.
    """

    slopes: FloatArray
    residuals: FloatArray
    weights: FloatArray
    pairs: IntArray
    at: FloatArray
    low: FloatArray
    high: FloatArray
    huber: float

    def only(self, keep: BoolArray) -> Linear:
        """Some of the residuals."""
        return replace(
            self,
            slopes=self.slopes[keep],
            residuals=self.residuals[keep],
            weights=self.weights[keep],
            pairs=self.pairs[keep],
        )

    def informing(self) -> IntArray:
        """Pairs of a chip and a model that depend on each candidate, shape (num_candidates,)."""
        found = np.zeros(self.at.size, dtype=np.int64)
        some = self.weights > 0.0
        for pair in np.unique(self.pairs[some]):
            here = np.abs(self.slopes[some & (self.pairs == pair)])
            found += np.max(here, axis=0) > _NOTICED
        return found

    def at_place(self, place: FloatArray) -> FloatArray:
        """Residuals at another point."""
        found: FloatArray = self.residuals + self.slopes @ (place - self.at)
        return found

    def cost(self, place: FloatArray) -> float:
        """Half the weighted sum of squares, linear beyond ``huber``, and the prior's."""
        size = np.abs(self.at_place(place))
        loss = np.where(size <= self.huber, size**2, 2.0 * self.huber * size - self.huber**2)
        return 0.5 * float(self.weights @ loss + place @ place)


def solve(problem: Linear, active: Sequence[int]) -> FloatArray:
    """The most likely point when only some candidates may leave what is expected.

    Parameters
    ----------
    problem : Linear
        Residuals.
    active : sequence of int
        Candidates that may move.

    Returns
    -------
    FloatArray
        Coordinates of all candidates, zero where they may not move, shape (num_candidates,).
    """
    chosen = list(active)
    place = np.zeros(problem.at.size)
    if not chosen:
        return place
    place[chosen] = problem.at[chosen]
    slopes = problem.slopes[:, chosen]
    origin = problem.residuals - problem.slopes @ problem.at
    for _ in range(_ROUNDS):
        weighed = slopes.T * _reweighed(problem, problem.at_place(place))
        found = _least(
            weighed @ slopes + np.eye(len(chosen)),
            weighed @ origin,
            problem.low[chosen],
            problem.high[chosen],
        )
        moved = float(np.max(np.abs(found - place[chosen])))
        place[chosen] = found
        if moved < 1e-4:
            break
    return place


def _least(square: FloatArray, linear: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Where ``x square x / 2 + linear x`` is least between bounds, by an active set."""
    found = np.zeros(linear.size)
    side = np.zeros(linear.size, dtype=np.int64)
    for _ in range(4 * linear.size + 8):
        found[side < 0], found[side > 0] = low[side < 0], high[side > 0]
        free = side == 0
        pull = linear[free] + square[np.ix_(free, ~free)] @ found[~free]
        found[free] = np.linalg.solve(square[np.ix_(free, free)], -pull)
        out = np.where(found < low, -1, np.where(found > high, 1, 0)) * free
        if out.any():
            side += out
            continue
        push = side * (square @ found + linear)  # above zero: it would go back inside
        if not push.size or push.max() <= 1e-10:
            break
        side[int(np.argmax(push))] = 0
    return np.clip(found, low, high)


def _reweighed(problem: Linear, residuals: FloatArray) -> FloatArray:
    """Weights with which the squares have the slope of the robust loss."""
    found: FloatArray = problem.weights * np.minimum(
        1.0, problem.huber / np.maximum(np.abs(residuals), 1e-12)
    )
    return found


def select(
    problem: Linear, begin: Sequence[int], *, evidence: float, most: int, least: Sequence[int] = ()
) -> tuple[list[int], FloatArray]:
    """Candidates worth having, one by one, while the evidence gains enough.

    Parameters
    ----------
    problem : Linear
        Residuals.
    begin : sequence of int
        Taken whatever they gain.
    evidence : float
        Least gain of the logarithm of the evidence.
    most : int
        How many may be taken at most.
    least : sequence of int
        By candidate: pairs of a chip and a model that have to inform it.

    Returns
    -------
    tuple of list of int and FloatArray
        Those taken, and the point.

    Notes
    -----
    The evidence of a parameter is what the data gain by it less what its prior loses by being narrowed
    (Laplace's approximation), so that a parameter that few rows know, or that others explain, is not taken.
    A parameter that would lie at a bound of its own is not taken either.
    """
    active = list(begin)
    barred = (
        {index for index, few in enumerate(problem.informing() < np.array(least)) if few} if least else set()
    )
    place = solve(problem, active)
    while len(active) < most:
        residuals = problem.at_place(place)
        weights = _reweighed(problem, residuals)
        gains, steps = _gains(problem, residuals, weights, active)
        free = np.array([index not in active and index not in barred for index in range(problem.at.size)])
        inside = (steps > problem.low + _EDGE) & (steps < problem.high - _EDGE)
        gains = np.where(free & inside, gains, -np.inf)
        best = int(np.argmax(gains)) if gains.size else 0
        if not gains.size or gains[best] < evidence:
            break
        tried = solve(problem, [*active, best])
        if _at_edge(problem, tried, best):
            barred.add(best)
            continue
        active.append(best)
        place = tried
        lost = [index for index in active if _at_edge(problem, place, index) and index not in begin]
        if lost:
            barred.update(lost)
            active = [index for index in active if index not in lost]
            place = solve(problem, active)
    return active, place


def _at_edge(problem: Linear, place: FloatArray, index: int) -> bool:
    return bool(place[index] <= problem.low[index] + _EDGE or place[index] >= problem.high[index] - _EDGE)


def _gains(
    problem: Linear, residuals: FloatArray, weights: FloatArray, active: Sequence[int]
) -> tuple[FloatArray, FloatArray]:
    """By candidate: gain of the evidence, and the coordinate it would take."""
    weighed = problem.slopes * weights[:, None]
    square = np.einsum("ij,ij->j", problem.slopes, weighed) + 1.0
    slope = -(weighed.T @ residuals)
    chosen = list(active)
    if chosen:
        cross = problem.slopes[:, chosen].T @ weighed
        inner = cross[:, chosen] + np.eye(len(chosen))
        square = square - np.einsum("ij,ij->j", cross, np.linalg.solve(inner, cross))
    square = np.maximum(square, 1e-9)
    gains: FloatArray = 0.5 * slope**2 / square - 0.5 * np.log(square)
    return gains, slope / square


def posterior(problem: Linear, place: FloatArray, active: Sequence[int], *, prior: float = 1.0) -> FloatArray:
    """Covariance of the coordinates, shape (num_active, num_active).

    ``prior`` is the weight of what was expected before; near zero the rows alone speak.
    """
    chosen = list(active)
    weights = _reweighed(problem, problem.at_place(place))
    slopes = problem.slopes[:, chosen]
    square = slopes.T @ (slopes * weights[:, None]) + prior * np.eye(len(chosen))
    return np.asarray(np.linalg.inv(square), dtype=np.float64)
