"""Charts of answers about ways of serving."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, panelled, rows_chart
from tokenroof.report.human import digits, human, share
from tokenroof.report.plan_charts import SECONDS, decades
from tokenroof.report.plan_labels import OBJECTIVE_LABELS, OBJECTIVE_UNITS, objective_text
from tokenroof.search.answers.core import BreakEvenMap, DraftTable, OffloadTable, RatioTable

_WIDTH, _HEIGHT, _CELL = 560, 300, 46
_WINNERS = {"together": theme.SERIES[0], "apart": theme.SERIES[1], "neither": theme.GHOST}


def apart_chart(found: BreakEvenMap) -> alt.ConcatChart:
    """Who wins by prompt and rate, a panel per hand-off bandwidth; strong colour is a large gain."""
    columns = 2 if len(found.handoff_bytes_per_s) == 4 else 3
    panels = [
        _apart_panel(found, link, first=place % columns == 0)
        for place, link in enumerate(found.handoff_bytes_per_s)
    ]
    title = alt.TitleParams(text="Together or apart", subtitle="Numbers: gain over the loser.")
    return panelled(panels, columns=columns, spacing=20, title=title)


def _apart_panel(found: BreakEvenMap, link: float, *, first: bool) -> alt.LayerChart:
    rows: list[dict[str, Any]] = [
        {
            "isl": f"{cell.isl_tokens:,}",
            "rate": digits(cell.rate_per_s),
            "winner": cell.winner,
            "strength": _strength(cell.gain_fraction),
            "gain": _gain(cell.gain_fraction),
            "text": cell.why,
        }
        for cell in found.cells
        if cell.handoff_bytes_per_s == link
    ]
    isl = [f"{value:,}" for value in found.isl_tokens]
    rates = [digits(value) for value in found.rates_per_s]
    x = alt.X(
        "rate:N", title="requests/s", sort=rates, axis=alt.Axis(labelAngle=0, domain=False, ticks=False)
    )
    y = alt.Y(
        "isl:N",
        title="prompt [tokens]" if first else None,
        sort=isl[::-1],
        axis=alt.Axis(domain=False, ticks=False) if first else None,
    )
    colour = alt.Color(
        "winner:N",
        title=None,
        scale=alt.Scale(domain=list(_WINNERS), range=list(_WINNERS.values())),
        legend=alt.Legend(orient="top", symbolType="square", symbolOpacity=1.0),
    )
    strength = alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0.2, 0.75]), legend=None)
    base = rows_chart(rows)
    cells = base.mark_rect(stroke=theme.PAPER, strokeWidth=2).encode(
        x=x, y=y, color=colour, opacity=strength, description="text:N", tooltip=["text:N"]
    )
    said = base.mark_text(fontSize=11, color=theme.INK).encode(x=x, y=y, text="gain:N")
    own = found.own_bytes_per_s
    mine = " (its own)" if own is not None and math.isclose(own, link, rel_tol=1e-6) else ""
    title = alt.TitleParams(text=f"hand-off {human(link, 'bytes/s')}{mine}", fontSize=12, anchor="middle")
    return layered([cells, said], width=_CELL * max(len(rates), 3), height=30 * max(len(isl), 2), title=title)


def _strength(gain: float) -> float:
    """0 for none, 1 for a third and more, or what the other cannot do."""
    return 0.0 if math.isnan(gain) else min(gain / 0.33, 1.0)


def _gain(gain: float) -> str:
    if math.isnan(gain):
        return ""
    return share(gain) if math.isfinite(gain) else "only"


def ratio_chart(found: RatioTable) -> alt.LayerChart:
    """The objective over the ratio of pools; the best marked, the flat part shaded."""
    rows: list[dict[str, Any]] = [
        {
            "ratio": row.ratio,
            "value": row.value,
            "text": f"{row.prefill_replicas} prefill : {row.decode_replicas} decode, {row.chips:,} chips, "
            f"{objective_text(found.objective, row.value)}",
        }
        for row in found.rows
        if math.isfinite(row.value)
    ]
    ratios = [row["ratio"] for row in rows]
    scale = alt.Scale(type="log", domain=[min(ratios) / 1.15, max(ratios) * 1.15], nice=False)
    x = alt.X("ratio:Q", title="prefill replicas per decode replica", scale=scale, axis=alt.Axis(format="~g"))
    unit = OBJECTIVE_UNITS[found.objective]
    highest = max(row["value"] for row in rows)
    y = alt.Y(
        "value:Q",
        title=f"{OBJECTIVE_LABELS[found.objective]} [{unit}]",
        scale=alt.Scale(domain=[0.0, highest * 1.08], nice=False),
        axis=alt.Axis(tickCount=6, format="~r"),
    )
    flat = rows_chart([{"low": found.flat_low, "high": found.flat_high}])
    shade = flat.mark_rect(color=theme.SERIES[2], opacity=0.14).encode(
        x=alt.X("low:Q", scale=scale, title="prefill replicas per decode replica"), x2="high:Q"
    )
    base = rows_chart(rows)
    dots = base.mark_circle(size=55, opacity=0.9, color=theme.SERIES[0]).encode(
        x=x, y=y, description="text:N", tooltip=["text:N"]
    )
    best = rows_chart([{"ratio": found.best.ratio, "value": found.best.value, "text": "best"}])
    ring = best.mark_point(size=190, color=theme.SERIES[1], strokeWidth=2.4).encode(x=x, y=y)
    said = best.mark_text(dy=20, fontSize=11, color=theme.INK).encode(x=x, y=y, text="text:N")
    title = alt.TitleParams(
        text="Prefill to decode", subtitle=f"Shaded: within {share(found.tolerance_fraction)} of the best."
    )
    return layered([shade, dots, ring, said], width=_WIDTH, height=_HEIGHT, title=title)


def offload_chart(found: OffloadTable) -> alt.LayerChart:
    """Seconds until an evicted prefix is in place: loaded from each tier, computed again."""
    again = "computed again"
    tiers = list(dict.fromkeys(row.tier for row in found.rows))
    rows: list[dict[str, Any]] = [
        {"how": f"from {row.tier}", "tokens": row.prefix_tokens, "time": row.load_s} for row in found.rows
    ]
    rows += [
        {"how": again, "tokens": row.prefix_tokens, "time": row.recompute_s}
        for row in found.rows
        if row.tier == tiers[0]
    ]
    for row in rows:
        row["text"] = f"{row['tokens']:,} tokens {row['how']}: {human(row['time'], 's')}"
    names = [again, *(f"from {tier}" for tier in tiers)]
    lengths = sorted({row["tokens"] for row in rows})
    times = [row["time"] for row in rows if row["time"] > 0.0]
    x = alt.X(
        "tokens:Q",
        title="prefix [tokens]",
        scale=alt.Scale(type="log", domain=[lengths[0], lengths[-1]], nice=False),
        axis=alt.Axis(values=lengths, format=",d", labelOverlap=True),
    )
    low, high = min(times) / 1.2, max(times) * 1.2
    y = alt.Y(
        "time:Q",
        title="time until it is in place",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(values=decades(low, high), labelExpr=SECONDS),
    )
    colour = alt.Color(
        "how:N",
        title=None,
        sort=names,
        scale=alt.Scale(
            domain=names, range=[theme.SERIES[place % len(theme.SERIES)] for place in range(len(names))]
        ),
        legend=alt.Legend(orient="top", symbolType="stroke", labelLimit=240),
    )
    base = rows_chart(rows)
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, order=alt.Order("tokens:Q"))
    dots = base.mark_circle(size=36, opacity=1).encode(
        x=x, y=y, color=colour, description="text:N", tooltip=["text:N"]
    )
    title = alt.TitleParams(text="Load or compute again")
    return layered([line, dots], width=_WIDTH, height=_HEIGHT, title=title)


def drafts_chart(found: DraftTable) -> alt.LayerChart:
    """Speed with the best number of drafts over that without, by batch and acceptance."""
    rows: list[dict[str, Any]] = [
        {
            "sequences": f"{row.sequences:,}",
            "accepted": share(row.acceptance_fraction),
            "speedup": row.speedup,
            "said": f"{digits(row.speedup)} x",
            "text": f"{row.sequences:,} sequences, {share(row.acceptance_fraction)} accepted: "
            f"{row.draft_tokens} drafts, {digits(row.speedup)} times as fast",
        }
        for row in found.best
    ]
    batches = [f"{count:,}" for count in sorted({row.sequences for row in found.best})]
    parts = [share(part) for part in sorted({row.acceptance_fraction for row in found.best})]
    x = alt.X("accepted:N", title="drafts accepted", sort=parts, axis=_bare(labelAngle=0))
    y = alt.Y("sequences:N", title="sequences that decode", sort=batches[::-1], axis=_bare())
    reach = max(1.25, *(max(row["speedup"], 1.0 / row["speedup"]) for row in rows))
    colour = alt.Color(
        "speedup:Q",
        title="times as fast",
        scale=alt.Scale(
            type="log",
            domain=[1.0 / reach, 1.0, reach],
            range=["#d9730d", "#f2f3f5", "#1a9870"],
            interpolate="rgb",
        ),
        legend=None,
    )
    base = rows_chart(rows)
    cells = base.mark_rect(stroke=theme.PAPER, strokeWidth=2).encode(
        x=x, y=y, color=colour, description="text:N", tooltip=["text:N"]
    )
    said = base.mark_text(fontSize=11, color="#1b1f24").encode(x=x, y=y, text="said:N")
    title = alt.TitleParams(
        text="When speculation pays", subtitle="Green: faster; orange: slower than without."
    )
    width, height = 64 * max(len(parts), 3), 30 * max(len(batches), 2)
    return layered([cells, said], width=width, height=height, title=title)


def _bare(**given: Any) -> alt.Axis:
    return alt.Axis(domain=False, ticks=False, **given)
