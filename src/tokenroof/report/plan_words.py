"""A plan in sentences: the answer in three lines, why, what is next best, what physics allows."""

from __future__ import annotations

from tokenroof.report.human import digits, human, share
from tokenroof.report.plan_labels import (
    OBJECTIVE_LABELS,
    STAGES,
    chips_text,
    choice_text,
    counted,
    engine_text,
    formats_text,
    interval,
    money,
    objective_text,
    of_limit,
    readable,
    relative,
    steps_text,
    target_name,
)
from tokenroof.search.asked import Limits, Question
from tokenroof.search.core import Check, Choice, LowerBound, PlanResult

_LIMIT_UNITS = {"chips": "chips", "usd_per_hour": "USD/h", "facility_w": "W", "racks": "racks"}
_LIMIT_NAMES = {"facility_w": "at the meter"}


def asked_line(found: PlanResult) -> str:
    """The load in one line."""
    load = found.load
    shared = f", {share(load.shared_fraction)} of the prompt tokens repeat" if load.shared_fraction else ""
    return (
        f"{found.question.model.name}: {digits(load.requests_per_s)} requests/s, mean "
        f"{load.isl_tokens:,.0f} tokens in, {load.osl_tokens:,.0f} tokens out{shared}"
    )


def wanted_line(question: Question) -> str:
    """Targets, limits and objectives in one line."""
    parts = [f"{target_name(each)} within {human(each.limit_s, 's')}" for each in question.targets]
    parts += limit_texts(question.limits)
    if question.headroom_fraction:
        parts.append(f"at {share(question.headroom_fraction)} more load")
    if question.spare_replicas:
        parts.append(f"N+{question.spare_replicas} replicas")
    wanted = ", ".join(
        OBJECTIVE_LABELS[each.name] + (f" (weight {each.weight:g})" if each.weight is not None else "")
        for each in question.objectives
    )
    return "; ".join(filter(None, [", ".join(parts), f"best by {wanted}"]))


def limit_texts(limits: Limits) -> list[str]:
    """Every limit that is set: "at most 40 chips", "at most 20 kW at the meter"."""
    out = []
    for name, unit in _LIMIT_UNITS.items():
        value = getattr(limits, name)
        if value is not None:
            out.append(f"at most {human(value, unit)} {_LIMIT_NAMES.get(name, '')}".rstrip())
    if limits.good_fraction is not None:
        out.append(f"at least {share(limits.good_fraction)} of the requests good")
    return out


# --- the answer ----------------------------------------------------------------------------------


def answer_lines(found: PlanResult) -> tuple[str, ...]:
    """The answer in three lines: what to run, what it costs, what it keeps; none when infeasible."""
    best = found.best
    if best is None:
        return ()
    what = f"{choice_text(best)}, {engine_text(best)}, {formats_text(best)}"
    return tuple(filter(None, (what, cost_line(best), kept_line(found.question, best))))


def cost_line(choice: Choice) -> str:
    """Money, power and what it fills."""
    parts = ["no price is known"] if choice.usd_per_hour is None else [human(choice.usd_per_hour, "USD/h")]
    total = choice.objectives.get("usd_per_million_tokens")
    if total is not None and choice.usd_per_hour is not None:
        parts.append(f"{objective_text('usd_per_million_tokens', total)} in and out")
    output = choice.metrics.get("usd_per_mtok_output")
    if output is not None:
        known = output.low is not None and output.high is not None
        ends = f" ({money(output.low)} - {money(output.high)})" if known else ""
        parts.append(f"{money(output.value, output.unit)} out{ends}")
    fills = f"{counted(choice.nodes, 'node')}, {counted(choice.racks, 'rack')}"
    provided = "" if choice.facility_w is None else f", {human(choice.facility_w, 'W')} to provide"
    return f"{', '.join(parts)}; {fills}{provided}"


def kept_line(question: Question, choice: Choice) -> str:
    """Targets with what they get, and at which rate."""
    if not choice.checks:
        return ""
    said = ", ".join(f"{target_name(each.target)} {_got(each)}" for each in choice.checks)
    under = []
    if choice.needed != choice.replicas:
        under.append("without the spares")
    if question.headroom_fraction:
        under.append(f"at {share(question.headroom_fraction)} more load than asked")
    return said + (f"; {' and '.join(under)}" if under else "")


def _got(check: Check) -> str:
    limit = human(check.target.limit_s, "s")
    ends = interval(check.low, check.high, check.value, "s")
    return f"{human(check.value, 's')} ({f'{ends}; ' if ends else ''}limit {limit})"


# --- why -----------------------------------------------------------------------------------------


def why_lines(found: PlanResult) -> tuple[str, ...]:
    """Why these, and so many; the second best and by how much; what is doubtful."""
    best = found.best
    if best is None:
        return ()
    lines = [readable(line, found.question.targets) for line in (*best.why[1:], *fewer_lines(best))]
    lines += [f"a step takes at most {steps_text(best)}", second_line(found), *doubts(best)]
    return tuple(filter(None, lines))


def fewer_lines(choice: Choice) -> list[str]:
    """One replica fewer of a pool, where the arithmetic does not say it already."""
    said = " ".join(choice.why)
    return [
        f"with {' + '.join(map(str, less.replicas))} replicas: {less.missed or 'all targets are kept'}"
        for less in choice.fewer
        if f"with {' + '.join(map(str, less.replicas))} replicas" not in said
    ]


def second_line(found: PlanResult) -> str:
    """The second best and how it differs in what was wanted."""
    best, second = found.best, found.second
    if best is None or second is None:
        return "" if best is None else "no other deployment was simulated and keeps the targets"
    parts = []
    for each in found.question.objectives:
        ours, theirs = best.objectives.get(each.name), second.objectives.get(each.name)
        if ours is None or theirs is None:
            continue
        stands = relative(theirs, ours)
        parts.append(f"{OBJECTIVE_LABELS[each.name]} {objective_text(each.name, theirs)} ({stands})")
    what = f"{choice_text(second)}, {engine_text(second)}, {formats_text(second)}"
    return f"second best: {what}: {', '.join(parts)}"


def doubts(choice: Choice) -> list[str]:
    """Targets that are met, but whose interval reaches beyond the limit."""
    return [
        f"{target_name(each.target)} is kept at {human(each.value, 's')}, but the interval of nine of ten "
        f"measured servings reaches to {human(each.high, 's')}, beyond the limit of "
        f"{human(each.target.limit_s, 's')}"
        for each in choice.checks
        if each.met and each.high is not None and each.high > each.target.limit_s
    ]


def bound_line(found: PlanResult) -> str:
    """The fewest chips that physics allows, beside those of the plan."""
    best = found.best
    if best is None:
        return f"physics asks for at least {bound_text(found.bounds[0])}" if found.bounds else ""
    chips = list(dict.fromkeys(pool.chip for pool in best.candidate.pools))
    mine = [bound for bound in found.bounds if bound.chip in chips]
    if len(mine) == 1:
        said = bound_text(mine[0])
    else:
        said = f"{chips_text(best.bound_chips)} of {' and '.join(chips)}"
    if best.chips < best.bound_chips:
        # what is simulated ended before a queue could grow: the targets are kept by a burst, not by a load
        stands = (
            f"the plan has {best.chips}: enough for the requests that were simulated, not for a load that "
            "goes on. Simulate more of them (num_requests, duration)"
        )
    elif best.chips == best.bound_chips:
        stands = "as many as the plan has"
    else:
        stands = f"the plan has {best.chips / max(1, best.bound_chips):.1f} times as many"
    return f"physics allows no fewer than {said}; {stands}"


def bound_text(bound: LowerBound) -> str:
    """A lower bound with its parts: "12 h200 (compute: 11.4; memory 3.2, bandwidth 8.1 chips)"."""
    parts = {
        "memory": bound.memory_chips,
        "compute": bound.compute_chips,
        "bandwidth": bound.bandwidth_chips,
    }
    others = ", ".join(f"{name} {digits(value)}" for name, value in parts.items())
    return (
        f"{bound.chips:,} x {bound.chip} at {bound.precision.weights}, for {bound.binding} ({others} chips)"
    )


def looked_line(found: PlanResult) -> str:
    """How much was looked at."""
    return (
        f"{counted(found.candidates, 'candidate')} looked at, {found.simulated:,} of them simulated; "
        f"{_turned(found)}"
    ).removesuffix("; ")


def _turned(found: PlanResult) -> str:
    counts = dict.fromkeys(STAGES, 0)
    for row in found.rejected:
        counts[row.stage] = counts.get(row.stage, 0) + row.count
    return ", ".join(f"{count:,} {STAGES.get(stage, stage)}" for stage, count in counts.items() if count)


def infeasible_lines(found: PlanResult) -> tuple[str, ...]:
    """Why there is no answer, and the nearest ask that can be met, each in a line."""
    problem = found.infeasible
    if problem is None:
        return ()
    why, mark, nearest = readable(problem.reason, found.question.targets).partition("Nearest ask")
    return tuple(filter(None, (why.strip(), f"{mark}{nearest}".strip())))


def nearest_to_limit(choice: Choice) -> Check | None:
    """The target that binds."""
    return max(choice.checks, key=of_limit, default=None)
