"""The closed form as the answers ask it: the screen's, without the benefit of the doubt.

The screen takes nothing away that a simulation could still save, so it lets every latency be better by
``options.MARGIN`` and every rate higher. An answer compares, so it takes the closed form as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Role
from tokenroof.errors import InputError
from tokenroof.search.accounting import ChipCost, objective_values, spent, total
from tokenroof.search.answers.core import Best
from tokenroof.search.asked import OBJECTIVES, Load, Question
from tokenroof.search.build import Builder
from tokenroof.search.core import Candidate, Rejected
from tokenroof.search.demand import load_of, shape_of
from tokenroof.search.options import MARGIN, Options, Screening, options_of
from tokenroof.search.pick import Setting
from tokenroof.search.screen import screen
from tokenroof.search.space import Engines, Subject, subjects
from tokenroof.search.steady import Ask
from tokenroof.search.survey import chip_costs
from tokenroof.search.tally import Tally
from tokenroof.workload.core import RequestShape

FloatArray = npt.NDArray[np.float64]

CLOSED_FORM = "closed form: requests of mean lengths, evenly spread; no queue, no bursts"


def fair(question: Question) -> Question:
    """The question whose screen is as strict as its targets."""
    targets = tuple(replace(each, limit_s=each.limit_s * (1.0 - MARGIN)) for each in question.targets)
    return replace(question, targets=targets)


def as_asked(seconds: float) -> float:
    """A latency, or its limit, as it was before :func:`fair` and the screen's benefit of the doubt. [s]"""
    return seconds / (1.0 - MARGIN)


def demand(question: Question) -> tuple[Load, RequestShape]:
    """The load of a question and its mean request."""
    requests = question.workload.requests(question.seed)
    return load_of(requests), shape_of(requests)


def ask_of(question: Question, shape: RequestShape, computed_fraction: float = 1.0) -> Ask:
    """What every request is."""
    return Ask(
        model=question.model,
        shape=shape,
        computed_fraction=computed_fraction,
        expert_load_factor=question.expert_load_factor,
    )


def computed_fraction(question: Question, load: Load) -> float:
    """Part of a prompt that the prefix cache cannot save, with the first way of caching of the space."""
    return 1.0 if question.space.prefix_caching[0] is False else 1.0 - load.shared_fraction


def replicas_of(
    question: Question, ask: Ask, roles: Sequence[Role]
) -> tuple[tuple[Subject, ...], dict[Role, Options]]:
    """Every way to run a replica of every role, with what it serves within the targets."""
    legal, _ = subjects(question)
    screening = Screening(
        question=fair(question),
        ask=ask,
        engines=Engines(question.space.engines),
        prompt_part=dict.fromkeys(fair(question).targets, 1.0),
    )
    found = options_of(screening, legal, roles)
    return legal, {
        role: replace(each, requests_per_s=each.requests_per_s / (1.0 + MARGIN))
        for role, each in found.items()
    }


def narrowed(question: Question, candidate: Candidate, pool: int) -> Question:
    """The question whose space is one pool of a candidate.

    Raises
    ------
    InputError
        The candidate is not of the question.
    """
    plan = candidate.pools[pool]
    chips = [each.name for each in question.chips]
    engines = [each.name for each in question.space.engines]
    if plan.chip not in chips or plan.engine not in engines:
        raise InputError(
            f"{plan.chip} with {plan.engine} is not of this question. It has {', '.join(chips)} with "
            f"{', '.join(engines)}: take a candidate of its result."
        )
    drafting = None if plan.role is Role.PREFILL else candidate.drafting
    return replace(
        question,
        chips=tuple(chip for chip in question.chips if chip.name == plan.chip),
        space=replace(
            question.space,
            engines=tuple(each for each in question.space.engines if each.name == plan.engine),
            precisions=(candidate.precision,),
            parallels=(plan.parallel,),
            max_num_seqs=(plan.max_num_seqs,),
            max_num_batched_tokens=(plan.max_num_batched_tokens,),
            drafting=(drafting,),
        ),
    )


def pool_options(question: Question, ask: Ask, candidate: Candidate) -> list[Options]:
    """One row for every pool of a candidate.

    Raises
    ------
    InputError
        The candidate is not of the question.
    """
    found = []
    for at, pool in enumerate(candidate.pools):
        mine = narrowed(question, candidate, at)
        _, options = replicas_of(mine, ask, (pool.role,))
        if not options[pool.role].subject.size:
            raise InputError(
                f"{candidate.label}: {pool.parallel} is not legal for {question.model.name} on {pool.chip}. "
                "Take a candidate of the question's result."
            )
        found.append(options[pool.role])
    return found


def costs_of(question: Question, catalog: Catalog) -> dict[str, ChipCost]:
    """Figures of every chip of a question."""
    return chip_costs(question, catalog)


def values_of(
    question: Question,
    load: Load,
    costs: dict[str, ChipCost],
    options: Sequence[Options],
    candidate: Candidate,
    replicas: Sequence[FloatArray],
) -> dict[str, FloatArray]:
    """Every objective of a candidate with replicas by pool (arrays of one shape, spares included)."""
    whole = total(
        [
            spent(
                costs[pool.chip],
                pool.parallel.chips * count,
                np.asarray(load.requests_per_s * each.dynamic_j[0]),
                load,
                question.limits,
            )
            for pool, each, count in zip(candidate.pools, options, replicas, strict=True)
        ],
        [costs[pool.chip] for pool in candidate.pools],
        question.limits,
    )
    handoff_s = max(float(each.handoff_s[0]) for each in options)
    return objective_values(
        chips=whole.chips,
        usd_per_hour=whole.usd_per_hour,
        power_w=whole.power_w,
        gco2e_per_mtok=whole.gco2e_per_mtok,
        ttft_s=np.broadcast_to(options[0].ttft_s[0] + handoff_s, whole.chips.shape),
        tpot_s=np.broadcast_to(options[-1].tpot_s[0], whole.chips.shape),
        load=load,
        utilisation_fraction=question.spending.utilisation_fraction,
    )


def best_of(
    question: Question,
    load: Load,
    costs: dict[str, ChipCost],
    legal: Sequence[Subject],
    options: dict[Role, Options],
    apart: bool,
) -> tuple[Best | None, float, tuple[Rejected, ...]]:
    """The best together, or apart; its cost (less is better); what was turned away.

    Parameters
    ----------
    question, load : Question, Load
        Whose targets, limits and first objective count.
    costs : dict of str to ChipCost
        By chip.
    legal, options : sequence of Subject, dict of Role to Options
        As :func:`replicas_of` gives them.
    apart : bool
        Which of the two.
    """
    mine = replace(question, space=replace(question.space, colocated=not apart, disaggregated=apart))
    setting = Setting(
        question=mine,
        load=load,
        costs=costs,
        prefix_caching=mine.space.prefix_caching[0],
        offload=mine.space.offload[0],
        margin=0.0,
    )
    tally = Tally()
    rows, _ = screen(setting, legal, options, tally)
    if not rows:
        return None, math.inf, tally.rows()
    row = min(rows, key=lambda each: (each.costs[0], each.exact))
    bought = [count + question.spare_replicas for count in row.replicas]
    chips = sum(plan.parallel.chips * count for plan, count in zip(row.candidate.pools, bought, strict=True))
    value = -row.costs[0] if OBJECTIVES[question.objectives[0].name] else row.costs[0]
    best = Best(candidate=row.candidate, replicas=row.replicas, chips=chips, value=value)
    return best, row.costs[0], tally.rows()


def replica_of(question: Question, candidate: Candidate, pool: int) -> Subject:
    """One replica of a pool of a candidate, without drafts, as something whose steps can be timed."""
    made = Builder(narrowed(question, candidate, pool)).pool(candidate.pools[pool])
    return Subject(
        chip=made.chip,
        engine=made.engine,
        parallel=made.parallel,
        precision=candidate.precision,
        drafting=None,
    )


def where(subject: Subject) -> str:
    """Chips, layout, formats and engine in one line."""
    chips = subject.parallel.chips
    formats = f"{subject.precision.weights} (kv {subject.precision.kv})"
    return f"{chips} x {subject.chip.name} {formats}, {subject.engine.name}"
