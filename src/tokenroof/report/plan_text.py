"""What ``tokenroof plan`` prints: the answer first, then why, then what else there is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from tokenroof.report import plan_rejected, plan_tables
from tokenroof.report.plan_part import Part
from tokenroof.report.plan_words import (
    answer_lines,
    asked_line,
    bound_line,
    infeasible_lines,
    looked_line,
    wanted_line,
    why_lines,
)
from tokenroof.report.tables import lines
from tokenroof.search.core import PlanResult

_REASONS = 10


def answer(found: PlanResult, *, parts: Sequence[Part] = ()) -> RenderableType:
    """The answer for a terminal.

    Parameters
    ----------
    found : PlanResult
        What was found.
    parts : sequence of Part
        Further answers, in their order; charts have no place on a terminal.
    """
    asked = Text(f"{asked_line(found)}\n{wanted_line(found.question)}", style="dim")
    shown: list[RenderableType] = [*_headline(found), Text(), asked]
    best = found.best
    if best is not None:
        shown += [Text(), lines("Why", [*why_lines(found), *filter(None, [bound_line(found)])])]
        shown.append(plan_tables.deployments(found, whole=False))
        if len(found.question.chips) > 1:
            shown.append(plan_tables.by_chip(found, whole=False))
    elif found.bounds:
        shown += [Text(), Text(bound_line(found))]
    for part in parts:
        shown += [Text(), lines(part.title, part.sentences), *part.tables]
        if part.notes:
            shown.append(Text(f"assumed: {'; '.join(part.notes)}", style="dim"))
    if found.rejected:
        shown.append(plan_rejected.rejected(found, most=_REASONS, whole=False))
    if found.candidates:
        shown.append(Text(looked_line(found), style="dim"))
    notes = [*found.notes, *(() if best is None else best.notes)]
    if notes:
        shown += [Text(), lines("Notes", notes)]
    return Group(*shown)


def _headline(found: PlanResult) -> list[RenderableType]:
    """The answer, or why there is none, before anything else."""
    if found.infeasible is not None:
        why, *nearest = infeasible_lines(found)
        first = Text("Infeasible: ", style="bold red").append(why, style="not bold")
        return [first, *(Text(each, style="bold") for each in nearest)]
    first_line, *rest = answer_lines(found)
    return [Text(first_line, style="bold green"), *(Text(line) for line in rest)]
