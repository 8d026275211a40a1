"""Disaggregate or not: who wins at which prompt length, rate and hand-off bandwidth, by how much and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip
from tokenroof.deploy.core import Role
from tokenroof.deploy.handoff import end_s, handoff_fabric
from tokenroof.errors import InputError, UnknownNameError
from tokenroof.search.accounting import ChipCost
from tokenroof.search.answers.closed import (
    CLOSED_FORM,
    ask_of,
    best_of,
    computed_fraction,
    costs_of,
    demand,
    fair,
    replicas_of,
)
from tokenroof.search.answers.core import Best, BreakEvenCell, BreakEvenMap
from tokenroof.search.answers.reasons import Otherwise, Pair, reason_of
from tokenroof.search.asked import Limits, Load, Question
from tokenroof.search.build import Builder
from tokenroof.search.options import Options
from tokenroof.search.space import Subject
from tokenroof.workload.core import RequestShape

LENGTHS = (0.25, 1.0, 4.0, 16.0)
"""Prompt lengths that are looked at, over the mean one."""

RATES = (0.1, 1.0, 10.0)
"""Rates, over the asked one."""

BANDWIDTHS = (1 / 64, 1 / 8, 1.0, 8.0)
"""Hand-off bandwidths, over that of the chip."""

LARGE = 1e6
"""A load so many times as large leaves no replica idle."""

NOTES = (
    CLOSED_FORM,
    "both sides have the same kind of chips, formats, engines, limits of a step, targets and spare replicas",
    "a hand-off begins when the prompt is done and delays the first token; links are not shared with others",
)


def disaggregate(
    question: Question,
    *,
    catalog: Catalog,
    chip: str = "",
    isl_tokens: Sequence[int] = (),
    rates_per_s: Sequence[float] = (),
    handoff_bytes_per_s: Sequence[float] = (),
) -> BreakEvenMap:
    """The break-even map of prefill and decode together against apart, in closed form.

    Parameters
    ----------
    question : Question
        Model, space, targets, limits; of its objectives the first counts. The mean answer and the part of
        the prompts that a prefix cache saves are those of its workload.
    catalog : Catalog
        Economics.
    chip : str, optional
        The kind of chip on both sides; needed when the question has several.
    isl_tokens, rates_per_s, handoff_bytes_per_s : sequence, optional
        The axes; default: around what is asked and around the chip's own link. Every chip of a replica
        sends and receives its own shard over such a link. [tokens], [1/s], [bytes/s]

    Returns
    -------
    BreakEvenMap
        A cell for every combination.

    Raises
    ------
    InputError
        An unknown chip, or an axis with a value that is not above 0.

    Notes
    -----
    It is a comparison of steady states: the fewest whole replicas that serve the rate with the headroom of
    the question. It does not see queues of bursty arrivals, contention on the network, or an imbalance of
    lengths; ``plan`` simulates those. The reason is found by taking things away one by one (hand-off time,
    whole replicas, targets) and looking whether the winner changes.
    """
    kind = _chip(question, chip)
    load, shape = demand(question)
    fabric = handoff_fabric(kind)
    own = None if fabric is None else fabric.bandwidth_bytes_per_s.value
    mine = replace(
        question,
        chips=(kind,),
        objectives=question.objectives[:1],
        space=replace(question.space, mixed_chips=False),
    )
    lengths = _axis("isl_tokens", isl_tokens) or tuple(
        float(max(1, round(shape.isl_tokens * factor))) for factor in LENGTHS
    )
    rates = _axis("rates_per_s", rates_per_s) or tuple(load.requests_per_s * factor for factor in RATES)
    speeds = _axis("handoff_bytes_per_s", handoff_bytes_per_s) or tuple(
        (own or 1.0) * factor for factor in (BANDWIDTHS if own else (1.0,))
    )
    costs, part = costs_of(mine, catalog), computed_fraction(question, load)
    cells: list[BreakEvenCell] = []
    for length in lengths:
        prompt = RequestShape(isl_tokens=int(length), osl_tokens=shape.osl_tokens)
        place = _Place(question=mine, costs=costs, shape=prompt, computed=part)
        for rate in rates:
            cells += (place.cell(rate, speed) for speed in speeds)
    return BreakEvenMap(
        chip=kind.name,
        objective=mine.objectives[0].name,
        osl_tokens=shape.osl_tokens,
        isl_tokens=tuple(int(each) for each in lengths),
        rates_per_s=rates,
        handoff_bytes_per_s=speeds,
        own_bytes_per_s=own,
        cells=tuple(cells),
        notes=NOTES if own else (*NOTES, f"{kind.name} has no fabric to hand caches over"),
    )


def _chip(question: Question, name: str) -> Chip:
    """The chip of both sides."""
    known = {each.name: each for each in question.chips}
    if name and name not in known:
        raise UnknownNameError("chip of the question", name, known)
    if not name and len(known) != 1:
        raise InputError(f"the question has several chips: {', '.join(known)}. Say which (chip).")
    return known[name] if name else question.chips[0]


def _axis(name: str, values: Sequence[float]) -> tuple[float, ...]:
    if any(not (value > 0.0 and math.isfinite(value)) for value in values):
        raise InputError(f"{name} must be above 0 and finite, got {', '.join(map(str, values))}.")
    return tuple(sorted({float(value) for value in values}))


@dataclass(slots=True)
class _Place:
    """One prompt length: replicas are worked out once, then counted for every rate and bandwidth."""

    question: Question
    costs: dict[str, ChipCost]
    shape: RequestShape
    computed: float
    _known: dict[bool, _Replicas] = field(default_factory=dict)
    _pairs: dict[tuple[float, float, bool], Pair] = field(default_factory=dict)

    def cell(self, rate_per_s: float, bytes_per_s: float) -> BreakEvenCell:
        """One cell."""
        pair = self._pair(rate_per_s, bytes_per_s)
        handoff_s = self._handoff_s(pair.apart, bytes_per_s)
        otherwise = Otherwise(
            at_once=lambda: self._pair(rate_per_s, math.inf),
            large=lambda: self._pair(LARGE * rate_per_s, bytes_per_s, limited=False),
            untargeted=lambda: self._pair(rate_per_s, bytes_per_s, targeted=False),
        )
        reason, why = reason_of(pair, otherwise, handoff_s)
        return BreakEvenCell(
            isl_tokens=self.shape.isl_tokens,
            rate_per_s=rate_per_s,
            handoff_bytes_per_s=bytes_per_s,
            handoff_s=handoff_s,
            together=pair.together,
            apart=pair.apart,
            winner=pair.winner,
            gain_fraction=pair.gain_fraction,
            reason=reason,
            why=why,
        )

    def _pair(
        self, rate_per_s: float, bytes_per_s: float, *, targeted: bool = True, limited: bool = True
    ) -> Pair:
        key = (rate_per_s, bytes_per_s, targeted)
        if key not in self._pairs:
            question = _loosened(self.question, targeted=targeted, limited=limited)
            legal, options = self._replicas(targeted)
            options = _with_handoff(question, self.shape, legal, options, bytes_per_s)
            load = Load(
                requests_per_s=rate_per_s,
                isl_tokens=self.shape.isl_tokens,
                osl_tokens=self.shape.osl_tokens,
                longest_tokens=self.shape.isl_tokens + self.shape.osl_tokens,
                shared_fraction=1.0 - self.computed,
                num_requests=0,
            )
            sides = [best_of(question, load, self.costs, legal, options, apart) for apart in (False, True)]
            (together, cost, turned), (apart, dearer, turned_apart) = sides
            self._pairs[key] = Pair(
                together=together, apart=apart, costs=(cost, dearer), rejected=(turned, turned_apart)
            )
        return self._pairs[key]

    def _replicas(self, targeted: bool) -> _Replicas:
        if targeted not in self._known:
            question = self.question if targeted else replace(self.question, targets=())
            ask = ask_of(question, self.shape, self.computed)
            self._known[targeted] = replicas_of(question, ask, (Role.BOTH, Role.PREFILL, Role.DECODE))
        return self._known[targeted]

    def _handoff_s(self, apart: Best | None, bytes_per_s: float) -> float:
        """Of the best apart; nan without one. [s]"""
        if apart is None:
            return math.nan
        precision, builder = apart.candidate.precision, Builder(self.question)
        pools = [builder.pool(plan) for plan in apart.candidate.pools]
        return max(
            float(end_s(pool, self.question.model, precision, self.shape.isl_tokens, bytes_per_s))
            for pool in pools
        )


def _loosened(question: Question, *, targeted: bool, limited: bool) -> Question:
    """Screened as strictly as it says, or without targets, or without limits."""
    mine = fair(question) if targeted else replace(question, targets=())
    return mine if limited else replace(mine, limits=Limits())


def _with_handoff(
    question: Question,
    shape: RequestShape,
    legal: Sequence[Subject],
    options: dict[Role, Options],
    bytes_per_s: float,
) -> dict[Role, Options]:
    """The same replicas with links of another bandwidth; an infinite one hands over in no time at all."""
    found = dict(options)
    for role in (Role.PREFILL, Role.DECODE):
        each = options[role]
        if not each.subject.size or bool(np.isnan(each.handoff_s).all()):
            continue
        if math.isinf(bytes_per_s):
            found[role] = replace(each, handoff_s=np.zeros(each.subject.size))
            continue
        ends = {
            index: float(
                end_s(
                    legal[index].pool(role),
                    question.model,
                    legal[index].precision,
                    shape.isl_tokens,
                    bytes_per_s,
                )
            )
            for index in np.unique(each.subject).tolist()
        }
        found[role] = replace(
            each, handoff_s=np.array([ends[index] for index in each.subject.tolist()], dtype=np.float64)
        )
    return found


_Replicas = tuple[tuple[Subject, ...], dict[Role, Options]]
