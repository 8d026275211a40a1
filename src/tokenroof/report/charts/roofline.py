"""Roofline: where each operator of prefill and decode stands under the roofs of its chip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from tokenroof.catalog.core import Chip
from tokenroof.deploy.core import Estimate, OpRow, Role
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, panelled, rows_chart
from tokenroof.report.charts.labelling import place_labels
from tokenroof.report.human import human, limit_name, share
from tokenroof.report.labels import headline, short_names

Row = dict[str, Any]
_LABELLED_WIDTH = 500
_COLUMNS = 3
_VISIBLE_SHARE = 0.005  # operators of less than half a percent do not stretch the axes


def roofline(estimates: Sequence[Estimate]) -> alt.ConcatChart:
    """One panel per estimate on common axes; the other chips' roofs stay visible in grey.

    Colour is the phase, area the share of the phase's time. Operators without arithmetic
    (norms that only move bytes, collectives) have no place on a log-log roofline and are left out.
    """
    shown = [(n, e) for n, e in zip(short_names(estimates), estimates, strict=True) if e.phases]
    x_domain, y_domain = _domains([estimate for _, estimate in shown])
    size = (620, 420) if len(shown) == 1 else (300, 240)
    roofs = {name: roof_rows(name, estimate, x_domain) for name, estimate in shown}
    panels = [_panel(name, e, roofs, x_domain, y_domain, size) for name, e in shown]
    note = "Dots: operators, area by share of the phase's time. Dashed: roofs of the other chips."
    if len(shown) == 1:
        note = "Each dot is an operator of one step; its area is its share of the phase's time."
    title = alt.TitleParams(text=f"Roofline, {headline(estimates)}", subtitle=note)
    return panelled(panels, columns=_COLUMNS, spacing=26, title=title)


def points(name: str, estimate: Estimate) -> list[Row]:
    """Operators that have a place on the roofline. [flop/byte, flop/s]"""
    return [
        {
            "chip": name,
            "phase": phase.name,
            "operator": op.name,
            "intensity": float(op.intensity_flop_per_byte),
            "achieved": float(op.achieved_flop_per_s),
            "share": float(op.share_fraction),
            "time": human(op.time_s, "s"),
            "share of phase": share(op.share_fraction),
            "limited by": limit_name(op.limit),
            "of peak": share(op.achieved_flop_per_s / op.peak_flop_per_s),
        }
        for phase in estimate.phases.values()
        for op in phase.ops
        if on_roofline(op)
    ]


def on_roofline(op: OpRow) -> bool:
    """Whether an operator has arithmetic and traffic, so that logarithms exist."""
    return op.intensity_flop_per_byte > 0 and op.achieved_flop_per_s > 0


def peaks(estimate: Estimate, chip: str = "") -> tuple[float, ...]:
    """Distinct arithmetic peaks that operators run against, all or those of one chip. [flop/s]"""
    runs = {
        phase
        for pool in estimate.deployment.pools
        for phase in estimate.phases
        if chip in ("", pool.chip.name) and pool.role in (Role.BOTH, phase)
    }
    ops = (op for name in runs for op in estimate.phases[name].ops if on_roofline(op))
    return tuple(sorted({float(op.peak_flop_per_s) for op in ops}))


def roof_rows(name: str, estimate: Estimate, x_domain: tuple[float, float]) -> list[Row]:
    """Corners of every roof: one line per memory tier and arithmetic peak in use."""
    rows: list[Row] = []
    for chip in dict.fromkeys(pool.chip.name for pool in estimate.deployment.pools):
        hardware = next(p.chip for p in estimate.deployment.pools if p.chip.name == chip)
        for tier in hardware.memory:
            if not tier.holds:
                continue
            bandwidth = tier.bandwidth_bytes_per_s.value
            for peak in peaks(estimate, chip):
                ridge = peak / bandwidth
                corners = [x_domain[0], *([ridge] if x_domain[0] < ridge < x_domain[1] else []), x_domain[1]]
                rows += [
                    {
                        "roof": f"{name} {chip} {tier.name} {peak}",
                        "order": i,
                        "intensity": x,
                        "achieved": min(x * bandwidth, peak),
                        "of": f"{chip}: {tier.name} {human(bandwidth, 'bytes/s')}, "
                        f"{_peak_name(hardware, peak)} {human(peak, 'flop/s')}",
                    }
                    for i, x in enumerate(corners)
                ]
    return rows


def _roofs_line(estimate: Estimate) -> str:
    """Bandwidths and peaks in use, below a panel's name."""
    chips = {pool.chip.name: pool.chip for pool in estimate.deployment.pools}
    parts = []
    for chip in chips.values():
        tiers = [
            f"{t.name} {human(t.bandwidth_bytes_per_s.value, 'bytes/s')}" for t in chip.memory if t.holds
        ]
        tops = [f"{_peak_name(chip, p)} {human(p, 'flop/s')}" for p in peaks(estimate, chip.name)]
        parts.append(", ".join((*tiers, *tops)))
    return "; ".join(parts)


def _peak_name(chip: Chip, peak: float) -> str:
    """Formats whose published peak it is; a peak that is none of them was assumed."""
    named = [n for n, q in chip.peak_flop_per_s.items() if math.isclose(q.value, peak, rel_tol=1e-9)]
    return "/".join(named) or "assumed 16-bit peak"


def _domains(estimates: Sequence[Estimate]) -> tuple[tuple[float, float], tuple[float, float]]:
    rows = [row for estimate in estimates for row in points("", estimate)]
    tops = [peak for estimate in estimates for peak in peaks(estimate)]
    if not rows or not tops:
        return (0.1, 1e4), (1e12, 1e15)
    seen = [row for row in rows if row["share"] >= _VISIBLE_SHARE] or rows
    x = [row["intensity"] for row in seen]
    y = [row["achieved"] for row in seen]
    return (min(x) / 2.5, max(x) * 2.5), (min(y) / 3, max(*y, *tops) * 2)


def _inside(row: Row, x_domain: tuple[float, float], y_domain: tuple[float, float]) -> bool:
    x, y = row["intensity"], row["achieved"]
    return bool(x_domain[0] < x < x_domain[1] and y_domain[0] < y < y_domain[1])


def decades(domain: tuple[float, float]) -> list[float]:
    """Powers of ten inside a domain; the 3s as well when there are few."""
    first, last = math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1]))
    tens = [10.0**i for i in range(first, last + 1) if domain[0] <= 10.0**i <= domain[1]]
    threes = [3 * 10.0**i for i in range(first, last + 1) if domain[0] <= 3 * 10.0**i <= domain[1]]
    return tens if len(tens) > 3 else sorted(tens + threes)


def _panel(
    name: str,
    estimate: Estimate,
    roofs: dict[str, list[Row]],
    x_domain: tuple[float, float],
    y_domain: tuple[float, float],
    size: tuple[int, int],
) -> alt.LayerChart:
    x_scale = alt.Scale(type="log", domain=list(x_domain), nice=False)
    y_scale = alt.Scale(type="log", domain=list(y_domain), nice=False, clamp=True)
    x = alt.X(
        "intensity:Q",
        title="arithmetic intensity [flop/byte]",
        scale=x_scale,
        axis=alt.Axis(format="~s", values=decades(x_domain)),
    )
    y = alt.Y(
        "achieved:Q",
        title="per chip [flop/s]",
        scale=y_scale,
        axis=alt.Axis(format="~s", values=decades(y_domain)),
    )
    own, others = roofs[name], [row for other, rows in roofs.items() if other != name for row in rows]
    line = {"x": x, "y": y, "detail": alt.Detail("roof:N"), "order": alt.Order("order:Q")}
    layers: list[alt.Chart] = []
    if others:
        ghost = rows_chart(others).mark_line(color=theme.GHOST, strokeWidth=1, strokeDash=[3, 3], clip=True)
        layers.append(ghost.encode(**line))
    roof = rows_chart(own).mark_line(color=theme.INK, strokeWidth=1.8, clip=True)
    layers.append(roof.encode(**line, tooltip=alt.Tooltip("of:N", title="roof")))
    rows = [row for row in points(name, estimate) if _inside(row, x_domain, y_domain)]
    dots = rows_chart(rows).mark_circle(opacity=0.75, stroke=theme.PAPER, strokeWidth=0.7)
    fields = ("chip", "operator", "phase", "time", "share of phase", "limited by", "of peak")
    layers.append(
        dots.encode(
            x=x,
            y=y,
            color=alt.Color(
                "phase:N",
                title="phase",
                scale=alt.Scale(domain=list(theme.PHASES), range=list(theme.PHASES.values())),
            ),
            size=alt.Size(
                "share:Q",
                title="share of the phase's time",
                scale=alt.Scale(domain=[0, 0.5], range=[12, 420], clamp=True),
                legend=alt.Legend(
                    format=".0%",
                    values=[0.05, 0.2, 0.4],
                    symbolFillColor=theme.FAINT_INK,
                    symbolStrokeColor=theme.FAINT_INK,
                ),
            ),
            tooltip=[
                *(alt.Tooltip(f"{field}:N") for field in fields),
                alt.Tooltip("intensity:Q", format=".3s", title="flop/byte"),
                alt.Tooltip("achieved:Q", format=".3s", title="flop/s"),
            ],
        )
    )
    labels = place_labels(rows, x_domain, y_domain, size) if size[0] >= _LABELLED_WIDTH else []
    for align in dict.fromkeys(label["align"] for label in labels):
        mine = [label for label in labels if label["align"] == align]
        text = rows_chart(mine).mark_text(fontSize=10.5, align=align, color=theme.INK)
        layers.append(
            text.encode(x=alt.X("x_at:Q", scale=x_scale), y=alt.Y("y_at:Q", scale=y_scale), text="operator:N")
        )
    title = alt.TitleParams(
        text=name, subtitle=_roofs_line(estimate), fontSize=13, subtitleFontSize=11, offset=6
    )
    return layered(layers, width=size[0], height=size[1], title=title)
