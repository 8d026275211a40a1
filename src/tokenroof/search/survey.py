"""The screen of everything that a question leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Role
from tokenroof.deploy.simulated.offload import Offload
from tokenroof.graph.core import Parallel
from tokenroof.search.accounting import ChipCost, chip_cost
from tokenroof.search.asked import Load, Question, Target
from tokenroof.search.options import Options, Screening, options_of
from tokenroof.search.pick import Row, Setting
from tokenroof.search.screen import screen
from tokenroof.search.space import Engines, Subject, batch_limits, subjects, token_budgets
from tokenroof.search.steady import Ask
from tokenroof.search.tally import Tally
from tokenroof.workload.core import Requests, RequestShape

_ONE = Parallel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a screen found.

    Attributes
    ----------
    rows : tuple of Row
        The best of every family, best first by their first cost.
    tally : Tally
        Everything that does not pass.
    candidates : int
        Looked at, rejected ones included.
    """

    rows: tuple[Row, ...]
    tally: Tally
    candidates: int


def chip_costs(question: Question, catalog: Catalog) -> dict[str, ChipCost]:
    """Figures of every chip of a question."""
    found = {}
    for chip in question.chips:
        subject = Subject(
            chip=chip,
            engine=question.space.engines[0],
            parallel=_ONE,
            precision=question.model.precision,
            drafting=None,
        )
        found[chip.name] = chip_cost(chip, subject.pool(), question.spending, catalog)
    return found


def survey(
    question: Question, load: Load, requests: Requests, shape: RequestShape, costs: dict[str, ChipCost]
) -> Survey:
    """Screen every candidate of a question."""
    tally = Tally()
    legal, turned = subjects(question)
    candidates = 0
    for each in turned:
        engine = each.subject.engine
        count = len(batch_limits(question.space, engine)) * len(token_budgets(question.space, engine))
        candidates += count
        tally.add(each.stage, each.subject.chip.name, each.reason, count, each.problem)
    rows: list[Row] = []
    kept: dict[float, dict[Role, Options]] = {}
    for prefix_caching, offload in _variants(question, load):
        part = 1.0 if prefix_caching is False else 1.0 - load.shared_fraction
        ask = Ask(
            model=question.model,
            shape=shape,
            computed_fraction=part,
            expert_load_factor=question.expert_load_factor,
        )
        screening = Screening(
            question=question,
            ask=ask,
            engines=Engines(question.space.engines),
            prompt_part=_prompt_parts(question.targets, requests),
        )
        if part not in kept:
            kept[part] = options_of(screening, legal, roles(question))
        setting = Setting(
            question=question, load=load, costs=costs, prefix_caching=prefix_caching, offload=offload
        )
        found, count = screen(setting, legal, kept[part], tally)
        rows += found
        candidates += count
    rows.sort(key=lambda row: (row.costs, row.exact))
    return Survey(rows=tuple(rows), tally=tally, candidates=candidates)


def roles(question: Question) -> tuple[Role, ...]:
    """Roles that pools may have."""
    space = question.space
    found = (Role.BOTH,) if space.colocated else ()
    return (*found, Role.PREFILL, Role.DECODE) if space.disaggregated else found


def _variants(question: Question, load: Load) -> Iterator[tuple[bool | None, tuple[Offload, ...]]]:
    """Prefix caches and offload; one alone where no prompt repeats another."""
    space = question.space
    if load.shared_fraction <= 0.0:
        yield space.prefix_caching[0], space.offload[0]
        return
    for prefix_caching in space.prefix_caching:
        for offload in space.offload:
            if not (offload and prefix_caching is False):
                yield prefix_caching, offload


def _prompt_parts(targets: Sequence[Target], requests: Requests) -> dict[Target, float]:
    """Prompt at a target's quantile over the mean prompt, at most 1: half of them may be shorter."""
    mean = float(requests.isl_tokens.mean())
    return {
        target: 1.0
        if target.quantile is None
        else min(1.0, float(np.quantile(requests.isl_tokens, target.quantile)) / mean)
        for target in targets
    }
