"""Choices in worlds that differ from what was assumed: other prices, other traffic, other speeds.

A world says how fast every replica is over its prediction, how much traffic there is over the asked one, and
what every kind of chip costs over its price. All of it is arrays of one shape, (num_draws,).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tokenroof.search.accounting import ChipCost, Spent, spent, total
from tokenroof.search.answers.closed import ask_of, computed_fraction, demand, narrowed, replicas_of
from tokenroof.search.asked import Load, Objective, Question
from tokenroof.search.core import Choice, PoolPlan
from tokenroof.search.front import order
from tokenroof.search.options import MARGIN
from tokenroof.search.steady import Ask

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SPEEDS = tuple(float(each) for each in np.geomspace(0.25, 4.0, 33))
"""Speeds over the prediction at which a replica is worked out; between them it is interpolated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A choice that may turn out the best.

    Attributes
    ----------
    choice : Choice
        What it is.
    log_capacity : tuple of FloatArray
        By pool: logarithm of what a replica serves within the targets at every one of :data:`SPEEDS`, over
        what it does as predicted; minus infinity where it misses them with any load. Shape (num_speeds,).
    """

    choice: Choice
    log_capacity: tuple[FloatArray, ...]

    @property
    def pools(self) -> tuple[PoolPlan, ...]:
        """Of the candidate."""
        return self.choice.candidate.pools


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is drawn; all arrays of shape (num_draws,).

    Attributes
    ----------
    speeds : tuple of tuples of FloatArray
        By rival and pool: over the prediction.
    filled : tuple of tuples of FloatArray
        By rival and pool: how much of the last replica the asked load needs, above 0 up to 1. A plan knows
        that so many replicas are enough and one fewer is not, and no more.
    growth : FloatArray
        Traffic over the asked one.
    prices : mapping of str to FloatArray
        By chip: over the stated price.
    """

    speeds: tuple[tuple[FloatArray, ...], ...]
    filled: tuple[tuple[FloatArray, ...], ...]
    growth: FloatArray
    prices: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Rivals for one load, and the figures of their chips.

    Attributes
    ----------
    question, load : Question, Load
        What is asked.
    costs : mapping of str to ChipCost
        By chip.
    rivals : tuple of Rival
        The choice first.
    """

    question: Question
    load: Load
    costs: Mapping[str, ChipCost]
    rivals: tuple[Rival, ...]

    def values(self, world: World) -> FloatArray:
        """Costs, less being better: shape (num_rivals, num_objectives, num_draws); infinite: impossible."""
        return np.array([self._of(at, world) for at in range(len(self.rivals))])

    def best(self, world: World) -> IntArray:
        """The place of the best rival in every draw; -1 where none can serve."""
        table = self.values(world)
        weights = [each.weight for each in self.question.objectives if each.weight is not None] or None
        places = [order(table[:, :, draw].tolist(), weights)[0] for draw in range(table.shape[2])]
        found = np.array(places, dtype=np.int64)
        found[~np.isfinite(table).all(axis=1).any(axis=0)] = -1
        return found

    def _of(self, at: int, world: World) -> FloatArray:
        rival, speeds = self.rivals[at], world.speeds[at]
        spares = [
            bought - need for bought, need in zip(rival.choice.replicas, rival.choice.needed, strict=True)
        ]
        counts, possible = [], np.ones(world.growth.shape, dtype=bool)
        for pool, needed in enumerate(rival.choice.needed):
            exact = (needed - 1 + world.filled[at][pool]) * world.growth
            capacity = _at_speed(rival.log_capacity[pool], speeds[pool])
            possible &= capacity > 0.0
            count = np.ceil(exact / np.where(capacity > 0.0, capacity, 1.0) - 1e-9)
            counts.append(np.maximum(count, 1.0) + spares[pool])
        whole = self._spent(rival, counts, world.prices)
        known = self._spent(
            rival,
            [np.asarray(float(count)) for count in rival.choice.replicas],
            dict.fromkeys(world.prices, np.ones(())),
        )
        possible &= self._allowed(whole)
        costs = [
            np.where(possible, each.cost(1.0) * self._value(each, rival, whole, known, world, speeds), np.inf)
            for each in self.question.objectives
        ]
        return np.array(costs)

    def _spent(self, rival: Rival, counts: Sequence[FloatArray], prices: Mapping[str, FloatArray]) -> Spent:
        """Chips, room and power of so many replicas, and their money at other prices."""
        parts = []
        for pool, count in zip(rival.pools, counts, strict=True):
            chips = pool.parallel.chips * count
            part = spent(self.costs[pool.chip], chips, np.zeros(()), self.load, self.question.limits)
            parts.append(replace(part, usd_per_hour=part.usd_per_hour * prices[pool.chip]))
        return total(parts, [self.costs[pool.chip] for pool in rival.pools], self.question.limits)

    def _allowed(self, whole: Spent) -> npt.NDArray[np.bool_]:
        """Within the limits of the question; what is not known breaks one."""
        limits = self.question.limits
        open_ = np.ones(np.shape(whole.chips), dtype=bool)
        for limit, value in (
            (limits.chips, whole.chips),
            (limits.usd_per_hour, whole.usd_per_hour),
            (limits.facility_w, whole.provided_w),
            (limits.racks, whole.racks),
        ):
            if limit is not None:
                open_ &= value <= limit * (1.0 + 1e-9)
        return open_

    def _value(
        self,
        objective: Objective,
        rival: Rival,
        whole: Spent,
        known: Spent,
        world: World,
        speeds: Sequence[FloatArray],
    ) -> FloatArray:
        """An objective of a rival, moved from what the plan found."""
        base = rival.choice.objectives.get(objective.name, math.nan)
        chips = whole.chips / known.chips
        match objective.name:
            case "usd_per_million_tokens":
                factor = whole.usd_per_hour / known.usd_per_hour / world.growth
            case "chips" | "power_w":
                factor = chips
            case "tokens_per_s_per_chip":
                factor = world.growth / chips
            case "gco2e_per_million_tokens":
                factor = chips / world.growth
            case "ttft_s":
                factor = 1.0 / speeds[0]
            case _:
                factor = 1.0 / speeds[-1]
        return np.broadcast_to(base * factor, world.growth.shape)


def rivals_of(question: Question, choices: Sequence[Choice]) -> tuple[Rival, ...]:
    """Choices with what their replicas serve at other speeds."""
    load, shape = demand(question)
    ask = ask_of(question, shape, computed_fraction(question, load))
    return tuple(
        Rival(
            choice=choice,
            log_capacity=tuple(
                _log_capacity(question, ask, choice, at) for at in range(len(choice.candidate.pools))
            ),
        )
        for choice in choices
    )


def _log_capacity(question: Question, ask: Ask, choice: Choice, pool: int) -> FloatArray:
    """What a replica serves at every speed over what it does as predicted.

    A replica that is ``f`` times as fast keeps a target as one of the predicted speed keeps a target ``f``
    times as long, and serves ``f`` times what that one does.
    """
    mine, role = narrowed(question, choice.candidate, pool), choice.candidate.pools[pool].role
    found = []
    for speed in (1.0, *SPEEDS):
        loose = tuple(
            replace(each, limit_s=each.limit_s * speed / (1.0 - MARGIN)) for each in question.targets
        )
        _, options = replicas_of(replace(mine, targets=loose), ask, (role,))
        row = options[role]
        found.append(speed * float(row.requests_per_s[0]) if row.fits[0] else 0.0)
    known, *at_speeds = found
    if not known > 0.0:  # simulated within the targets, by its closed form not: speed is all that is known
        return np.log(SPEEDS)
    with np.errstate(divide="ignore"):
        return np.log(np.array(at_speeds) / known)


def _at_speed(log_capacity: FloatArray, speeds: FloatArray) -> FloatArray:
    """Capacity over the predicted one, between the speeds that were worked out; 0 where there is none.

    Below the least speed at which the targets can be kept there is nothing, and nothing in between.
    """
    knots = np.log(SPEEDS)
    some = np.isfinite(log_capacity)
    if not some.any():
        return np.zeros(np.shape(speeds))
    first = int(np.argmax(some))
    asked = np.log(np.maximum(speeds, 1e-12))
    inside = np.interp(asked, knots[first:], log_capacity[first:])
    # beyond the ends capacity goes with the speed
    inside += np.minimum(asked - knots[0], 0.0) * (first == 0) + np.maximum(asked - knots[-1], 0.0)
    return np.where((asked >= knots[first] - 1e-9) | (first == 0), np.exp(inside), 0.0)
