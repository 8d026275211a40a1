"""How sure a choice is: other prices, other traffic, speeds within the interval of the prediction."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.accuracy import BORROWED, CHIP, ENGINE, MODEL, SIMULATED
from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Deployment
from tokenroof.deploy.estimate import estimate
from tokenroof.deploy.known import HIGHEST, THROUGHPUT, Asked, Parts, asked_of, log_parts, under_known_name
from tokenroof.errors import InputError
from tokenroof.search.answers.closed import costs_of, demand
from tokenroof.search.answers.core_result import Doubts, Flip, Sensitivity, Share
from tokenroof.search.answers.draws import Contest, Rival, World, rivals_of
from tokenroof.search.core import PlanResult
from tokenroof.workload.core import RequestShape

FloatArray = npt.NDArray[np.float64]

NINE_OF_TEN = 1.6448536269514722
"""Half-width of nine tenths of a normal distribution, over its standard deviation."""

OWN_PART = 0.5
"""Part of the variance of what was seen that is a candidate's own (layout, limits of a step): an assumption.
The rest it has in common with all of the same chip, engine and formats; what a chip, an engine or a model
adds that was not measured is common to all that have it."""

FARTHEST = 4.0
"""Flips are looked for up to this factor, and down to one over it."""

_FACTORS = 161
_REFINED = 30

NOTES = (
    "rivals are the choices of the plan: what it did not simulate cannot win here",
    "replicas follow the load and the speed in closed form from what the plan found: nothing is simulated",
    "a speed is that of every step: a replica that is slower keeps its targets with fewer requests, or not "
    "at all; nothing else of it changes",
    "headroom and spare replicas of the question are kept whatever the traffic",
    "power and carbon go with the chips, latencies with the speed",
)


def sensitivity(result: PlanResult, doubts: Doubts | None = None, *, catalog: Catalog) -> Sensitivity:
    """In how many of many possible worlds the choice of a plan is still the best.

    Parameters
    ----------
    result : PlanResult
        A plan with a choice.
    doubts : Doubts, optional
        What is not sure, and by how much.
    catalog : Catalog
        Economics, and what is known of errors.

    Returns
    -------
    Sensitivity
        The same for the same seed.

    Raises
    ------
    InputError
        A plan without a choice.

    Notes
    -----
    Speeds are drawn from what the interval of the highest rate is made of (``deploy.known``): errors that
    two candidates have in common (the same chip that nobody measured, the same engine) move both, and cannot
    change which is better. It answers whether another of the simulated choices would have been the better
    one to take, not whether the deployed one would keep its targets: for that see the intervals of its
    checks.
    """
    given = doubts or Doubts()
    if result.best is None:
        raise InputError("the plan has no choice: there is nothing to be unsure of.")
    question, choices = result.question, (*result.front, *result.others)
    contest = Contest(
        question=question,
        load=result.load,
        costs=costs_of(question, catalog),
        rivals=rivals_of(question, choices),
    )
    doubt = _Doubt(result, contest.rivals, catalog)
    made = doubt.world(given)
    table, best = contest.values(made), contest.best(made)
    return Sensitivity(
        candidate=result.best.candidate,
        doubts=given,
        same_fraction=float(np.mean(best == 0)),
        same_chips_fraction=float(np.mean(_same_chips(contest.rivals)[best])),
        alone={
            name: float(np.mean(contest.best(doubt.world(alone)) == 0))
            for name, alone in _one_by_one(given).items()
        },
        shares=_shares(contest.rivals, best),
        flips=tuple(_flips(contest, doubt)),
        regret_fraction=_regret(table, best),
        impossible_fraction=float(np.mean(~np.isfinite(table[0]).all(axis=0))),
        notes=(*NOTES, *doubt.notes),
    )


def _one_by_one(doubts: Doubts) -> dict[str, Doubts]:
    """Each doubt without the others."""
    sure = replace(doubts, price_fraction=0.0, growth_low=1.0, growth_high=1.0, prediction=False)
    return {
        "price": replace(sure, price_fraction=doubts.price_fraction),
        "traffic": replace(sure, growth_low=doubts.growth_low, growth_high=doubts.growth_high),
        "prediction": replace(sure, prediction=doubts.prediction),
    }


def _same_chips(rivals: Sequence[Rival]) -> npt.NDArray[np.bool_]:
    """By rival, whether its chips are those of the choice; the last is nobody."""
    kinds = [tuple((pool.role, pool.chip) for pool in rival.pools) for rival in rivals]
    return np.array([*(kind == kinds[0] for kind in kinds), False])


def _shares(rivals: Sequence[Rival], best: npt.NDArray[np.int64]) -> tuple[Share, ...]:
    counted = Counter(best.tolist())
    return tuple(
        Share(
            candidate=None if at < 0 else rivals[at].choice.candidate,
            fraction=count / best.size,
        )
        for at, count in sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    )


def _regret(table: FloatArray, best: npt.NDArray[np.int64]) -> float:
    """Mean of what the choice is worse by in the first objective, where it is possible."""
    draws = np.arange(best.size)
    mine, least = table[0, 0], table[np.maximum(best, 0), 0, draws]
    fine = np.isfinite(mine) & np.isfinite(least) & (best >= 0)
    if not fine.any():
        return math.nan
    return float(np.mean(np.maximum((mine[fine] - least[fine]) / np.abs(least[fine]), 0.0)))


# --- worlds --------------------------------------------------------------------------------------


class _Doubt:
    """What is not sure of the rivals of one plan."""

    def __init__(self, result: PlanResult, rivals: Sequence[Rival], catalog: Catalog) -> None:
        self.rivals = rivals
        self.chips = sorted({pool.chip for rival in rivals for pool in rival.pools})
        question = result.question
        _, shape = demand(question)
        self._parts: list[list[tuple[Asked, Parts | None]]] = []
        for rival in rivals:
            deployment = rival.choice.deployment
            grounded = _grounded(deployment, shape, catalog)
            self._parts.append(
                [
                    _parts_of(replace(deployment, pools=(pool,)), len(rival.pools) > 1, grounded, catalog)
                    for pool in deployment.pools
                ]
            )
        unknown = any(parts is None for each in self._parts for _, parts in each)
        self.notes = ("no errors of predictions are known: speeds are not drawn",) if unknown else ()

    def world(self, doubts: Doubts) -> World:
        """So many draws; each doubt has random numbers of its own, so that none moves another's."""
        count = doubts.draws
        seeds = np.random.SeedSequence(doubts.seed).spawn(4)
        growing, pricing, filling, erring = (np.random.Generator(np.random.PCG64(seed)) for seed in seeds)
        growth = growing.uniform(doubts.growth_low, doubts.growth_high, count)
        spread = doubts.price_fraction
        prices = {chip: 1.0 + spread * pricing.uniform(-1.0, 1.0, count) for chip in self.chips}
        filled = tuple(tuple(1.0 - filling.random(count) for _ in rival.pools) for rival in self.rivals)
        speeds = self._speeds(erring, count) if doubts.prediction else self._ones(count)
        return World(speeds=speeds, filled=filled, growth=growth, prices=prices)

    def even(self, count: int) -> World:
        """All as assumed, the last replica needed by half."""
        return World(
            speeds=self._ones(count),
            filled=tuple(tuple(np.full(count, 0.5) for _ in rival.pools) for rival in self.rivals),
            growth=np.ones(count),
            prices={chip: np.ones(count) for chip in self.chips},
        )

    def _ones(self, count: int) -> tuple[tuple[FloatArray, ...], ...]:
        return tuple(tuple(np.ones(count) for _ in rival.pools) for rival in self.rivals)

    def _speeds(self, rng: np.random.Generator, count: int) -> tuple[tuple[FloatArray, ...], ...]:
        """Drawn, in common for what has its error in common."""
        normal: dict[tuple[object, ...], FloatArray] = {}

        def of(key: tuple[object, ...]) -> FloatArray:
            if key not in normal:
                normal[key] = rng.standard_normal(count)
            return normal[key]

        found = []
        for index, each in enumerate(self._parts):
            mine = []
            for at, (asked, parts) in enumerate(each):
                log_speed = np.zeros(count)
                if parts is not None:
                    log_speed += parts.middle
                    for key, below, above in _components(asked, parts, (index, at)):
                        drawn = of(key)
                        log_speed += np.where(drawn < 0.0, below, above) * drawn / NINE_OF_TEN
                mine.append(np.exp(log_speed))
            found.append(tuple(mine))
        return tuple(found)


def _components(
    asked: Asked, parts: Parts, own: tuple[int, int]
) -> Iterator[tuple[tuple[object, ...], float, float]]:
    """Independent errors of a prediction, half-widths below and above, by what has them in common."""
    common = {
        CHIP: ("chip", asked.chip),
        BORROWED: ("chip", asked.chip),
        ENGINE: ("engine", asked.engine, asked.family),
        MODEL: ("model", asked.format, asked.family),
    }
    below, above = (parts.factor * each for each in parts.seen)
    shared, alone = math.sqrt(1.0 - OWN_PART), math.sqrt(OWN_PART)
    yield ("seen", asked.chip, asked.engine, asked.format, asked.pools), shared * below, shared * above
    yield ("own", *own), alone * below, alone * above
    for scope, added in parts.added.items():
        yield common[scope], parts.factor * added[0], parts.factor * added[1]
    yield ("claims", asked.chip), *parts.claims


def _grounded(deployment: Deployment, shape: RequestShape, catalog: Catalog) -> bool:
    """Whether the operators of a deployment were measured on its chips."""
    return estimate(deployment, shape, catalog=catalog, concurrency=1).grounded


def _parts_of(
    deployment: Deployment, apart: bool, grounded: bool, catalog: Catalog
) -> tuple[Asked, Parts | None]:
    """What is known of one pool."""
    (asked,) = asked_of(deployment, load=HIGHEST, grounded=grounded)
    (named,) = under_known_name((asked,), deployment.model, catalog)
    named = replace(named, pools="apart" if apart else "together")
    return named, log_parts(named, THROUGHPUT, SIMULATED, catalog.accuracy)


# --- flips ---------------------------------------------------------------------------------------


def _flips(contest: Contest, doubt: _Doubt) -> Iterator[Flip]:
    """Where one thing alone, moved either way, makes another choice the best."""
    for chip in doubt.chips:
        yield from _both_ways(f"price of {chip}", contest, partial(_priced, doubt, chip))
    yield from _both_ways("traffic", contest, partial(_grown, doubt))
    best = contest.rivals[0]
    for chip, engine in sorted({(pool.chip, pool.engine) for pool in best.pools}):
        yield from _both_ways(f"speed of {chip}, {engine}", contest, partial(_sped, doubt, chip, engine))


def _priced(doubt: _Doubt, chip: str, factors: FloatArray) -> World:
    even = doubt.even(factors.size)
    return replace(even, prices={**even.prices, chip: factors})


def _grown(doubt: _Doubt, factors: FloatArray) -> World:
    return replace(doubt.even(factors.size), growth=factors)


def _sped(doubt: _Doubt, chip: str, engine: str, factors: FloatArray) -> World:
    ones = np.ones(factors.size)
    return replace(
        doubt.even(factors.size),
        speeds=tuple(
            tuple(factors if (pool.chip, pool.engine) == (chip, engine) else ones for pool in rival.pools)
            for rival in doubt.rivals
        ),
    )


def _both_ways(what: str, contest: Contest, world: Callable[[FloatArray], World]) -> Iterator[Flip]:
    """The nearest factor below 1 and above at which the best is another."""
    found = [
        flip
        for farthest in (1.0 / FARTHEST, FARTHEST)
        if (flip := _nearest(what, contest, world, farthest)) is not None
    ]
    yield from found or [Flip(what=what, factor=math.nan, to=None)]


def _nearest(
    what: str, contest: Contest, world: Callable[[FloatArray], World], farthest: float
) -> Flip | None:
    factors = np.geomspace(1.0, farthest, _FACTORS)
    best = contest.best(world(factors))
    others = np.flatnonzero(best != best[0])
    if not others.size:
        return None
    same, other = math.log(factors[others[0] - 1]), math.log(factors[others[0]])
    to = int(best[others[0]])
    for _ in range(_REFINED):
        middle = 0.5 * (same + other)
        (at,) = contest.best(world(np.array([math.exp(middle)]))).tolist()
        if at == int(best[0]):
            same = middle
        else:
            other, to = middle, at
    return Flip(what=what, factor=math.exp(other), to=None if to < 0 else contest.rivals[to].choice.candidate)
