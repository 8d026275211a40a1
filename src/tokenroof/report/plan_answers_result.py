"""Answers about a finished plan: how sure the choice is, against an API, with fewer replicas."""

from __future__ import annotations

import math

from rich.text import Text

from tokenroof.report.human import digits, human, share
from tokenroof.report.plan_answer_charts import fewer_chart, self_host_chart, sensitivity_chart
from tokenroof.report.plan_labels import (
    candidate_text,
    chips_text,
    interval,
    money,
    of_limit,
    readable,
    target_name,
)
from tokenroof.report.plan_part import Part
from tokenroof.report.tables import grid, ranged
from tokenroof.search.answers.core_result import Doubts, FewerTable, Flip, SelfHost, Sensitivity

_DASH = "-"
_NOTHING = "nothing can serve"


def sensitivity_part(found: Sensitivity) -> Part:
    """In how many draws the choice is the same, what else is chosen, where it flips."""
    doubts = found.doubts
    sentences = [
        f"the choice is the same in {share(found.same_fraction)} of {doubts.draws:,} draws "
        f"({_drawn(doubts)}), its chips in {share(found.same_chips_fraction)}",
        f"what the choice costs more than the best of a draw: {share(found.regret_fraction)} on average",
    ]
    if found.impossible_fraction:
        sentences.append(
            f"in {share(found.impossible_fraction)} of the draws no number of its replicas keeps the targets"
        )
    if found.alone:
        alone = ", ".join(f"{what} {share(part)}" for what, part in found.alone.items())
        sentences.append(f"the same when only one thing is drawn: {alone}")
    chosen = grid("What is chosen")
    chosen.add_column("deployment", overflow="fold")
    chosen.add_column("of the draws", justify="right")
    for each in found.shares:
        label = _NOTHING if each.candidate is None else each.candidate.label
        style = "bold green" if each.candidate == found.candidate else ""
        chosen.add_row(Text(label), Text(share(each.fraction), style=style))
    flips = grid("Where one thing alone changes the choice")
    flips.add_column("what")
    flips.add_column("factor on it", justify="right")
    flips.add_column("then the best is", overflow="fold")
    for flip in found.flips:
        flips.add_row(Text(flip.what), _factor(flip), Text(_then(flip)))
    return Part(
        name="sensitivity",
        title="How sure the choice is",
        sentences=sentences,
        notes=found.notes,
        tables=[chosen, *([flips] if found.flips else [])],
        chart=sensitivity_chart(found),
        caption="How often each deployment is the best when prices, traffic and predictions are drawn.",
    )


def _drawn(doubts: Doubts) -> str:
    parts = []
    if doubts.price_fraction:
        parts.append(f"prices within {share(doubts.price_fraction)}")
    if (doubts.growth_low, doubts.growth_high) != (1.0, 1.0):
        parts.append(f"traffic {digits(doubts.growth_low)} to {digits(doubts.growth_high)} times the asked")
    if doubts.prediction:
        parts.append("speeds within the intervals of the prediction")
    return ", ".join(parts)


def _factor(flip: Flip) -> str:
    return f"{digits(flip.factor)} x" if math.isfinite(flip.factor) else _DASH


def _then(flip: Flip) -> str:
    if not math.isfinite(flip.factor):
        return "the same over the whole range that was looked at"
    return _NOTHING if flip.to is None else flip.to.label


def self_host_part(found: SelfHost) -> Part:
    """Cost of an own deployment against an API, over the load."""
    here, name = found.here, found.price.name
    ours, theirs = money(here.usd_per_mtok, "USD/Mtok"), money(here.api_usd_per_mtok, "USD/Mtok")
    sentences = [
        f"{here.cheaper} is cheaper at the asked {digits(here.rate_per_s)} requests/s: an own deployment "
        f"costs {ours}, {name} {theirs} of prompt and answer",
        _from_rate(found),
        f"this deployment costs as much as {name} at {human(found.break_even_fixed_per_s, 'requests/s')}",
        f"both cost the same if {name} asked for {digits(found.break_even_factor)} times its prices",
    ]
    table = grid("Own deployment against the API")
    table.add_column("requests/s", justify="right")
    table.add_column("deployment", overflow="fold")
    for column in ("chips", "own [USD/h]", "API [USD/h]", "own [USD/Mtok]", "API [USD/Mtok]"):
        table.add_column(column, justify="right")
    table.add_column("cheaper")
    for row in found.rows:
        table.add_row(
            digits(row.rate_per_s),
            Text(candidate_text(row.candidate, row.replicas)),
            f"{row.chips:,}",
            human(row.usd_per_hour, "USD"),
            human(row.api_usd_per_hour, "USD"),
            money(row.usd_per_mtok),
            money(row.api_usd_per_mtok),
            row.cheaper,
        )
    return Part(
        name="self-host",
        title="Own deployment or an API",
        sentences=sentences,
        notes=found.notes,
        tables=[table],
        chart=self_host_chart(found),
        caption="Cost of a million prompt and answer tokens at other loads, each with the replicas it needs.",
    )


def _from_rate(found: SelfHost) -> str:
    least = found.break_even_per_s
    if least is None:
        return f"{found.price.name} is cheaper up to the highest rate that was looked at"
    if least <= 0.0:
        return "an own deployment is cheaper at every rate that was looked at"
    return f"an own deployment is cheaper from {digits(least)} requests/s on"


def fewer_part(found: FewerTable) -> Part:
    """Targets with fewer and fewer replicas."""
    table = grid("With fewer replicas")
    table.add_column("deployment, spares left out", overflow="fold")
    for column in ("chips", "saved", "USD/h"):
        table.add_column(column, justify="right")
    targets = [check.target for check in found.rows[0].checks] if found.rows else []
    for target in targets:
        heading = f"{target_name(target)}\nlimit {human(target.limit_s, 's')}"
        table.add_column(heading, justify="right")
    table.add_column("missed", overflow="fold")
    for row in found.rows:
        cells = [
            ranged(
                human(check.value, "s"),
                interval(check.low, check.high, check.value, "s"),
                "" if check.met else "red",
                alone=False,
            )
            for check in row.checks
        ]
        table.add_row(
            Text(candidate_text(found.candidate, row.replicas)),
            f"{row.chips:,}",
            share(row.saved_fraction),
            _DASH if row.usd_per_hour is None else human(row.usd_per_hour, "USD"),
            *cells,
            Text(readable(row.missed, targets) or "nothing"),
        )
    return Part(
        name="fewer",
        title="With fewer chips",
        sentences=[_next_down(found)],
        notes=found.notes,
        tables=[table],
        chart=fewer_chart(found),
        caption="Targets over their limits: above 100 % they are missed. The right end is the choice itself.",
    )


def _next_down(found: FewerTable) -> str:
    fewer = found.rows[1:]
    if not fewer:
        return "there is no replica to take away"
    row = fewer[0]
    if not row.missed:
        return f"{chips_text(row.chips)} keep the targets as well; headroom or spares are why there are more"
    worst = max(row.checks, key=of_limit, default=None)
    part = "" if worst is None else f" ({share(of_limit(worst))} of the limit of {target_name(worst.target)})"
    return f"{chips_text(row.chips)} save {share(row.saved_fraction)} of the chips and miss the targets{part}"
