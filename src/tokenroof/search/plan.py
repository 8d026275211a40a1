"""The plan: screen everything, simulate what may be best, and say why."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Infeasible
from tokenroof.errors import InputError
from tokenroof.search.asked import Load, Question
from tokenroof.search.bound import lower_bounds
from tokenroof.search.build import Builder
from tokenroof.search.campaign import Campaign
from tokenroof.search.choose import choice_of
from tokenroof.search.core import Choice, LowerBound, PlanResult, Progress, Store, Watch
from tokenroof.search.demand import load_of, shape_of
from tokenroof.search.front import front, order, thinned
from tokenroof.search.impossible import asked_too_much, nothing_found, nothing_to_try
from tokenroof.search.rounds import Explored, explore
from tokenroof.search.runs import Memory, Runner, cores
from tokenroof.search.survey import Survey, chip_costs, survey
from tokenroof.workload.core import Requests

ALIKE = 0.01
"""Of two on the front that differ by less than this part in everything, one is shown."""

SHOWN_BEHIND = 5
"""Deployments behind the front that come with everything that is said of a choice; beside them, so does
the best on every kind of chip alone."""


def plan(
    question: Question,
    *,
    catalog: Catalog,
    store: Store | None = None,
    workers: int | None = None,
    progress: Watch | None = None,
) -> PlanResult:
    """Which deployments are best for a load.

    Parameters
    ----------
    question : Question
        What is asked.
    catalog : Catalog
        Economics, accuracy, figures of offload tiers.
    store : Store, optional
        Where finished simulations are kept and looked for; default: in memory.
    workers : int, optional
        Processes that simulate; default: one per core. The result does not depend on it.
    progress : callable, optional
        Told how far the plan is.

    Returns
    -------
    PlanResult
        ``infeasible`` says why there is nothing, with the nearest ask that can be met.

    Raises
    ------
    InputError
        A load without a rate, a target of a class that is not there, or anything that no engine, chip or
        model can do.
    """
    requests = question.workload.requests(question.seed)
    _check_classes(question, requests)
    load, shape = load_of(requests), shape_of(requests)
    problem = nothing_to_try(question)
    if problem is not None:
        return _without(question, load, (), None, problem)
    bounds = lower_bounds(question, load, shape)
    costs = chip_costs(question, catalog)
    if progress is not None:
        progress(Progress(stage="screen", done=0, total=1))
    found = survey(question, load, requests, shape, costs)
    if progress is not None:
        progress(Progress(stage="screen", done=1, total=1, text=f"{found.candidates:,} candidates"))
    runner = Runner(question, catalog, store or Memory(), workers or cores())
    try:
        campaign = Campaign(
            question=question, load=load, costs=costs, runner=runner, bounds=bounds, watch=progress
        )
        explored = explore(campaign, found.rows, found.tally)
        if not explored.found:
            known = asked_too_much(question, bounds)
            problem = nothing_found(campaign, found, requests, shape, known)
            return _without(question, load, bounds, found, problem, len(campaign.searched))
        return _answer(campaign, bounds, found, explored)
    finally:
        runner.close()


def _answer(
    campaign: Campaign, bounds: tuple[LowerBound, ...], found: Survey, explored: Explored
) -> PlanResult:
    """The front, and what is behind it."""
    question = campaign.question
    builder = Builder(question)
    on_front = front([each.costs for each in explored.found])
    weights = weights_of(question)
    ranked = order([each.costs for each in explored.found], weights)
    if len(question.objectives) == 1 or weights is not None:
        ahead = ranked[:1]
    else:
        ahead = thinned(
            [each.costs for each in explored.found], [at for at in ranked if at in set(on_front)], ALIKE
        )
    behind = [at for at in ranked if at not in set(ahead)]

    def choice(at: int) -> Choice:
        each = explored.found[at]
        return choice_of(campaign, builder, bounds, each.candidate, each.needed)

    return PlanResult(
        question=question,
        load=campaign.load,
        front=tuple(choice(at) for at in ahead),
        others=tuple(choice(at) for at in _shown(ahead, behind, explored)),
        bounds=bounds,
        rejected=found.tally.rows(),
        candidates=found.candidates,
        simulated=len(campaign.searched),
        notes=explored.notes,
    )


def check(question: Question, catalog: Catalog) -> None:
    """Refuse at once what :func:`plan` would refuse before it simulates anything.

    Raises
    ------
    InputError
        As :func:`plan`.
    """
    requests = question.workload.requests(question.seed)
    _check_classes(question, requests)
    load_of(requests)
    if nothing_to_try(question) is None:
        chip_costs(question, catalog)


def _check_classes(question: Question, requests: Requests) -> None:
    names = [kind.name for kind in requests.classes]
    for target in question.targets:
        if target.request_class and target.request_class not in names:
            raise InputError(
                f"no class {target.request_class!r} in the workload. It has: {', '.join(names)}."
            )
    if question.limits.good_fraction is not None and not any(kind.slo.asked for kind in requests.classes):
        raise InputError(
            "good_fraction is the part of requests within the limits of their class, and no class has any. "
            "Give a class its limits (slo), or targets instead."
        )


def _shown(ahead: list[int], behind: list[int], explored: Explored) -> list[int]:
    """Places of those behind the front that are shown: the next best, and the best of every chip alone."""
    known = {_chips(explored, at) for at in (*ahead, *behind[:SHOWN_BEHIND])}
    shown = behind[:SHOWN_BEHIND]
    for at in behind[SHOWN_BEHIND:]:
        chips = _chips(explored, at)
        if len(chips) == 1 and chips not in known:
            known.add(chips)
            shown.append(at)
    return shown


def _chips(explored: Explored, at: int) -> frozenset[str]:
    return frozenset(pool.chip for pool in explored.found[at].candidate.pools)


def weights_of(question: Question) -> tuple[float, ...] | None:
    """Weights of the objectives; None where there are none."""
    found = [each.weight for each in question.objectives if each.weight is not None]
    return tuple(found) or None


def _without(
    question: Question,
    load: Load,
    bounds: tuple[LowerBound, ...],
    found: Survey | None,
    problem: Infeasible,
    simulated: int = 0,
) -> PlanResult:
    """The answer that there is none, and why."""
    empty = PlanResult(
        question=question,
        load=load,
        front=(),
        others=(),
        bounds=bounds,
        rejected=(),
        candidates=0,
        simulated=0,
        infeasible=problem,
    )
    if found is None:
        return empty
    return replace(
        empty,
        rejected=found.tally.rows(),
        candidates=found.candidates,
        simulated=simulated,
    )
