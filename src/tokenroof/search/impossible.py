"""Asks that cannot be met: why, and the nearest that can."""

from __future__ import annotations

import math
from dataclasses import replace

from tokenroof.deploy.capacity import resident_weights
from tokenroof.deploy.core import Infeasible
from tokenroof.graph.core import Parallel
from tokenroof.search.asked import Limits, Objective, Question, Target
from tokenroof.search.bound import least_chips
from tokenroof.search.campaign import Campaign
from tokenroof.search.core import Candidate, LowerBound, Record, Rejected
from tokenroof.search.judge import GOOD, checks_of
from tokenroof.search.rounds import Explored, explore
from tokenroof.search.survey import Survey, survey
from tokenroof.search.tally import Tally
from tokenroof.workload.core import Requests, RequestShape

LIMITS = {
    "chips": ("chips", "chips"),
    "usd_per_hour": ("usd_per_million_tokens", "USD/h"),
    "facility_w": ("chips", "W"),
    "racks": ("chips", "racks"),
}
"""Limits: the objective that asks for least of it, and its unit."""

TRIED = 12
"""Candidates that are simulated to find the nearest ask that can be met."""

NOT_ALL = 0.9
"""Part of the good requests of the nearest candidate that is asked of others, and with other seeds."""

RELAXED = 4
"""Things that may stand in the way one after the other."""


def nothing_to_try(question: Question) -> Infeasible | None:
    """Why the space is empty before anything is looked at, or None."""
    space = question.space
    if not question.chips:
        return Infeasible(reason="no chip is given. Name at least one, or take all of the catalog.")
    if not space.engines:
        return Infeasible(reason="no engine is given. Name at least one, such as vllm.")
    if not (space.colocated or space.disaggregated):
        return Infeasible(reason="neither colocated nor disaggregated is left open. Allow one of them.")
    if question.model.generation is not None:
        return Infeasible(
            reason=f"{question.model.name} denoises blocks, which is not simulated. Ask for an estimate."
        )
    return None


def asked_too_much(question: Question, bounds: tuple[LowerBound, ...]) -> Infeasible | None:
    """Why the limit on chips contradicts physics, or None."""
    most = question.limits.chips
    if most is None or not bounds or bounds[0].chips <= most:
        return None
    space, best = question.space, bounds[0]
    mixed = space.disaggregated and space.mixed_chips
    if mixed and least_chips(bounds, [bound.chip for bound in bounds]) <= most:
        return None  # two kinds together may be fewer than either alone
    reason = (
        f"chips: at most {most} are allowed, but physics asks for {best.chips} x {best.chip} at least "
        f"({best.binding}). Allow more, or ask for less."
    )
    return Infeasible(reason=reason, need=best.chips, have=most, unit="chips")


def nothing_found(
    campaign: Campaign,
    found: Survey,
    requests: Requests,
    shape: RequestShape,
    known: Infeasible | None,
) -> Infeasible:
    """Why no candidate keeps what is asked, and the nearest ask that can be kept.

    What stands in the way of the candidate that came nearest is taken away, one thing after the other, until
    something serves; the ask is what that one reaches, simulated.

    Parameters
    ----------
    campaign, found : Campaign, Survey
        What found nothing.
    requests, shape : Requests, RequestShape
        The load.
    known : Infeasible or None
        A reason that holds whatever is simulated.
    """
    first, tally = known, found.tally
    asked = question = campaign.question
    for _ in range(RELAXED):
        culprit = _culprit(tally)
        if culprit is None:
            break
        first = first or culprit.problem
        relaxed = _relaxed(question, culprit)
        if relaxed is None:
            return _hopeless(question, culprit)
        question = relaxed
        trial = replace(campaign, question=replace(question, most_simulated=TRIED), searched=set())
        seen = survey(question, campaign.load, requests, shape, campaign.costs)
        explored = explore(trial, seen.rows, seen.tally)
        if explored.found:
            return _nearest(trial, asked, explored, first)
        tally = seen.tally
    problem = first or Infeasible(reason="nothing serves this load.")
    return replace(problem, reason=f"{problem.reason} No nearer ask was found that can be met.")


def _culprit(tally: Tally) -> Rejected | None:
    """What stood in the way of the candidate that came nearest; simulated ones came nearer than screened."""
    late = [each for each in tally.rows() if each.stage in ("simulated", "limits", "bound")]
    rows = [each for each in late if each.stage == "simulated" or each.reason in LIMITS]
    rows = rows or [each for each in tally.rows() if each.stage == "screen"] or list(tally.rows())
    return min(rows, key=lambda each: tally.nearness(each), default=None)


def _relaxed(question: Question, culprit: Rejected) -> Question | None:
    """The question without what is in the way; None when that is memory or a rule of the layout."""
    name = culprit.reason
    if name in LIMITS:
        objective, _ = LIMITS[name]
        limits = without_limit(question.limits, name)
        return replace(question, limits=limits, objectives=(Objective(name=objective),))
    for index, target in enumerate(question.targets):
        if target.name == name:
            need = culprit.problem.need
            wider = _wider(target, need)
            return replace(
                question, targets=(*question.targets[:index], wider, *question.targets[index + 1 :])
            )
    good = culprit.problem.need
    if name == GOOD and good is not None and good > 0.0:
        return replace(question, limits=replace(question.limits, good_fraction=NOT_ALL * good))
    return None


def without_limit(limits: Limits, name: str) -> Limits:
    """The other limits."""
    kept = {each: getattr(limits, each) for each in Limits.__dataclass_fields__ if each != name}
    return Limits(**kept)


def _wider(target: Target, need: float | None) -> Target:
    """A limit that the nearest candidate keeps, with room for what the closed form does not know."""
    found = 0.0 if need is None or not math.isfinite(need) else need
    return replace(target, limit_s=max(1.25 * found, 1.1 * target.limit_s))


def _nearest(campaign: Campaign, asked: Question, explored: Explored, first: Infeasible | None) -> Infeasible:
    """What the best deployment of the relaxed question reaches of the asked one."""
    best = min(explored.found, key=lambda each: _over(campaign, asked, each.candidate, each.needed))
    records = _records(campaign, best.candidate, best.needed)
    asks, need, have, unit = [], None, None, ""
    for checks in zip(*(checks_of(asked, record) for record in records), strict=True):
        worst = max(checks, key=lambda check: check.value)
        if not worst.met:
            value = _up(worst.value)
            asks.append(replace(worst.target, limit_s=value).text)
            need, have, unit = value, worst.target.limit_s, "s"
    for name, value in _used(campaign, best.candidate, best.needed).items():
        limit = getattr(asked.limits, name)
        if limit is not None and not value <= limit:
            asks.append(f"{name} of {_up(value):.4g} {LIMITS[name][1]}")
            need, have, unit = _up(value), float(limit), LIMITS[name][1]
    fraction, good = asked.limits.good_fraction, min(_good(record) for record in records)
    if fraction is not None and not good >= fraction:
        need, have, unit = math.floor(1e3 * good) / 1e3, fraction, ""
        asks.append(f"{need:.1%} good requests")
    counts = " + ".join(str(count) for count in best.needed)
    reason = first.reason if first is not None else "the ask cannot be met."
    reached = " and ".join(asks) or "the same with fewer limits"
    return Infeasible(
        reason=f"{reason.rstrip('.')}. Nearest ask that can be met: {reached}, "
        f"with {counts} x {best.candidate.label}.",
        need=need,
        have=have,
        unit=unit,
    )


def _over(campaign: Campaign, asked: Question, candidate: Candidate, needed: tuple[int, ...]) -> float:
    """By how much what is asked is missed, targets with every seed and limits: the worst part, at least 1."""
    found = [
        check.value / check.target.limit_s
        for record in _records(campaign, candidate, needed)
        for check in checks_of(asked, record)
    ]
    for name, value in _used(campaign, candidate, needed).items():
        limit = getattr(asked.limits, name)
        if limit is not None:
            found.append(value / limit)
    fraction = asked.limits.good_fraction
    if fraction is not None:
        found += (fraction / max(_good(record), 1e-9) for record in _records(campaign, candidate, needed))
    return max([1.0, *found])


def _records(campaign: Campaign, candidate: Candidate, needed: tuple[int, ...]) -> list[Record]:
    """With every seed with which a plan keeps its targets."""
    return campaign.run([campaign.task(candidate, needed, seed) for seed in campaign.seeds])


def _used(campaign: Campaign, candidate: Candidate, needed: tuple[int, ...]) -> dict[str, float]:
    """Of everything that has a limit, spares included."""
    whole = campaign.spent(candidate, campaign.with_spares(needed))
    return {
        "chips": float(whole.chips),
        "usd_per_hour": float(whole.usd_per_hour),
        "facility_w": float(whole.provided_w),
        "racks": float(whole.racks),
    }


def _good(record: Record) -> float:
    return record.values.get("good_fraction", math.nan)


def _up(value: float) -> float:
    """Rounded up to three digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / step - 1e-9) * step


def _hopeless(question: Question, culprit: Rejected) -> Infeasible:
    """That memory or the rules of layouts are in the way: how much there is of what is needed."""
    if culprit.stage != "memory":
        return culprit.problem
    formats = question.space.precisions or (question.model.precision,)
    need = min(sum(resident_weights(question.model, each, Parallel()).values()) for each in formats)
    memory = {
        chip.name: sum(tier.usable_capacity_bytes.value for tier in chip.memory if tier.holds)
        for chip in question.chips
    }
    largest = max(memory, key=lambda name: memory[name])
    reason = (
        f"memory: {question.model.name} fits no replica that is left open: its weights alone are "
        f"{need / 1e9:.4g} GB, and {largest} has {memory[largest] / 1e9:.4g} GB a chip. Nearest ask: "
        f"replicas that hold more than {need / 1e9:.4g} GB together, or narrower weights."
    )
    return Infeasible(reason=reason, need=float(need), have=memory[largest], unit="bytes")
