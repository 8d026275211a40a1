"""Tables of a plan: deployments side by side, targets, the best of every chip, pools of the best."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from tokenroof.deploy.core import Metric, Role
from tokenroof.report.human import human, human_range, share
from tokenroof.report.plan_labels import (
    OBJECTIVE_LABELS,
    OBJECTIVE_UNITS,
    best_by_family,
    engine_text,
    family_text,
    formats_text,
    interval,
    objective_text,
    of_limit,
    pools_text,
    relative,
    step_text,
    target_name,
    ways,
)
from tokenroof.report.plan_rejected import why_not
from tokenroof.report.run_labels import run_range, run_text
from tokenroof.report.tables import grid, ranged
from tokenroof.search.asked import Objective, Question
from tokenroof.search.core import Check, Choice, PlanResult

_DASH = "-"
_METRICS = {
    "output_tokens_per_s_per_chip": "output tokens/s\nper chip",
    "output_tokens_per_s_per_user": "output tokens/s\nper user",
    "energy_j_per_output_token": "energy per\noutput token",
}


def deployments(
    found: PlanResult, *, title: str = "Deployments that keep the targets", whole: bool = True
) -> Table:
    """The front, the best first, and what is behind it: a line each.

    Parameters
    ----------
    found : PlanResult
        What is shown.
    title : str
        Of the table.
    whole : bool
        With throughput and energy, for which a terminal has no room.
    """
    question = found.question
    table = grid(title)
    table.add_column("")
    table.add_column("deployment", overflow="fold", min_width=24)
    names = shown_objectives(question)
    for column in ("chips", "USD/h", *(_heading(name) for name in names)):
        table.add_column(Text(column), justify="right")
    for target in question.targets:
        table.add_column(f"{target_name(target)}\nlimit {human(target.limit_s, 's')}", justify="right")
    choices = (*found.front, *found.others)
    metrics = [key for key in _METRICS if whole and any(key in each.metrics for each in choices)]
    for key in metrics:
        table.add_column(_METRICS[key], justify="right")
    for place, choice in enumerate(choices):
        if place == len(found.front):
            table.add_section()
        table.add_row(
            _place(found, place),
            Text(_named(choice)),
            f"{choice.chips:,}",
            _hourly(choice),
            *(_objective_cell(found, choice, name, place) for name in names),
            *(_check_cell(check) for check in choice.checks),
            *(_metric_cell(choice, key) for key in metrics),
        )
    return table


def shown_objectives(question: Question) -> list[str]:
    """Objectives that have a column: those asked for and cost, but for chips, which have one anyway."""
    asked = [each.name for each in question.objectives]
    return [name for name in dict.fromkeys([*asked, "usd_per_million_tokens"]) if name != "chips"]


def _named(choice: Choice) -> str:
    return f"{pools_text(choice)}\n{engine_text(choice)}, {formats_text(choice)}"


def _hourly(choice: Choice) -> str:
    return _DASH if choice.usd_per_hour is None else human(choice.usd_per_hour, "USD")


def _heading(name: str) -> str:
    label = OBJECTIVE_LABELS[name]
    unit = OBJECTIVE_UNITS[name]
    return f"{label}\n[{unit}]" if unit == "tokens/s per chip" else label.replace(", ", ",\n")


def _place(found: PlanResult, place: int) -> Text:
    if place == 0:
        return Text("1 best", style="bold green")
    return Text(f"{place + 1} front" if place < len(found.front) else f"{place + 1}")


def _objective_cell(found: PlanResult, choice: Choice, name: str, place: int) -> Text:
    value = choice.objectives.get(name)
    best = found.best
    text = Text(objective_text(name, value), style="bold green" if place == 0 else "")
    ours = None if best is None else best.objectives.get(name)
    if place and value is not None and ours is not None and value == value and ours == ours:
        text.append(f"\n{relative(value, ours)}", style="not bold dim")
    return text


def _check_cell(check: Check) -> Text:
    ends = interval(check.low, check.high, check.value, "s")
    return ranged(human(check.value, "s"), ends, "" if check.met else "red", alone=False)


def _metric_cell(choice: Choice, key: str) -> Text:
    if key not in choice.metrics:
        return Text(_DASH)
    metric = choice.metrics[key]
    return ranged(run_text(key, metric), run_range(key, metric), "", alone=False)


def objective_cell(name: str, value: float) -> str:
    """An objective with its unit, "-" where it is not known."""
    return objective_text(name, value) if math.isfinite(value) else _DASH


def metric_cells(name: str, metric: Metric) -> tuple[str, str]:
    """A simulated metric and its interval, each with the unit."""
    ends = _DASH
    if metric.low is not None and metric.high is not None:
        ends = human_range(metric.low, metric.high, metric.unit)
    return human(metric.value, metric.unit), ends


def targets(choice: Choice, *, title: str = "Targets of the best") -> Table:
    """Every target: what it gets, between which ends, how near to its limit."""
    table = grid(title)
    table.add_column("target")
    for column in ("value", "nine of ten", "limit", "of the limit"):
        table.add_column(Text(column), justify="right")
    table.add_column("")
    for check in choice.checks:
        over = check.high is not None and check.high > check.target.limit_s
        verdict = "kept" if check.met else "missed"
        table.add_row(
            target_name(check.target),
            Text(human(check.value, "s"), style="" if check.met else "red"),
            _ends(check),
            human(check.target.limit_s, "s"),
            share(of_limit(check)),
            Text(f"{verdict}; the interval reaches beyond" if check.met and over else verdict),
        )
    return table


def _ends(check: Check) -> str:
    if check.low is None or check.high is None:
        return _DASH
    return human_range(check.low, check.high, "s")


def by_chip(found: PlanResult, *, title: str = "Best of every chip", whole: bool = True) -> Table:
    """The best deployment that was simulated of every chip asked for, and why there is none of others.

    Parameters
    ----------
    found : PlanResult
        What is shown.
    title : str
        Of the table.
    whole : bool
        With engines and formats, for which a terminal has no room.
    """
    question, best = found.question, found.best
    objective = question.objectives[0]
    table = grid(title)
    table.add_column("chips of")
    table.add_column("deployment", overflow="fold")
    for column in ("chips", "USD/h", _heading(objective.name), "to the\nbest", "fewest by\nphysics"):
        table.add_column(Text(column), justify="right")
    bounds = {bound.chip: bound for bound in found.bounds}
    shown = best_by_family(found)
    for name, choice in shown.items():
        value = choice.objectives.get(objective.name)
        ours = None if best is None else best.objectives.get(objective.name)
        table.add_row(
            family_text(name),
            Text(_named(choice) if whole else pools_text(choice)),
            f"{choice.chips:,}",
            _hourly(choice),
            Text(objective_text(objective.name, value), style="bold green" if choice is best else ""),
            _stands(objective, value, ours, choice is best),
            f"{choice.bound_chips:,}",
        )
    for chip in question.chips:
        if chip.name not in shown:
            bound = bounds.get(chip.name)
            table.add_row(
                chip.name,
                Text(why_not(found, chip.name), style="dim"),
                *[_DASH] * 4,
                _DASH if bound is None else f"{bound.chips:,}",
            )
    return table


def _stands(objective: Objective, value: float | None, ours: float | None, first: bool) -> str:
    if first:
        return "best"
    return _DASH if value is None or ours is None else relative(value, ours) or _DASH


def details(choice: Choice) -> Table:
    """What the chosen deployment is, a line per pool."""
    table = grid("")
    for column in ("pool", "chip", "engine", "sharding"):
        table.add_column(column)
    for column in ("replicas", "of these spare", "chips"):
        table.add_column(Text(column), justify="right")
    table.add_column("a step takes at most")
    parts = zip(choice.candidate.pools, choice.replicas, choice.needed, strict=True)
    for pool, bought, needed in parts:
        table.add_row(
            "prefill and decode" if pool.role is Role.BOTH else pool.role.value,
            pool.chip,
            pool.engine,
            ways(pool.parallel),
            f"{bought:,}",
            f"{bought - needed:,}",
            f"{bought * pool.parallel.chips:,}",
            step_text(pool),
        )
    return table
