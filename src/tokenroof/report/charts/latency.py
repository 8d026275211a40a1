"""How long requests took: the part of them that had its first token, a token, the last one within a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Estimate
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, panelled, rows_chart
from tokenroof.report.human import human
from tokenroof.report.labels import headline, short_names
from tokenroof.serve.results import RequestLog, Run
from tokenroof.workload.core import Slo

FloatArray = npt.NDArray[np.float64]

MOST_POINTS = 2000
"""Points of a curve; more are not told apart on a screen."""

_SIZE = (290, 250)
_MARKED = (0.5, 0.9, 0.99)
_TEXT_ROOM = 0.26  # of the axis, for the numbers right of a lone curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds that requests took, sorted, and the limit that they were to meet."""

    name: str
    seconds: FloatArray
    limit_s: float | None


def latency(estimates: Sequence[Estimate]) -> alt.ConcatChart:
    """Cumulative share of requests by time to first token, time per output token, and end to end.

    One curve per estimate, or per class of requests when there is one estimate with several; dots at the
    50th, 90th and 99th of 100 requests; dashed: the limits that were asked for. [s]
    """
    shown = [(n, e.run) for n, e in zip(short_names(estimates), estimates, strict=True) if e.run is not None]
    names: list[str] = []
    panels: list[alt.LayerChart] = []
    for heading, kind in (
        ("Time to first token", "ttft_s"),
        ("Time per output token", "tpot_s"),
        ("End to end", "e2e_s"),
    ):
        curves = [curve for name, run in shown for curve in curves_of(name, run, kind, alone=len(shown) == 1)]
        names = names or [curve.name for curve in curves]
        drawn = [curve for curve in curves if curve.seconds.size]
        if drawn:
            panels.append(_panel(heading, drawn, names, first=not panels))
    title = alt.TitleParams(text="Latency of requests", subtitle=headline(estimates))
    return panelled(panels, columns=3, spacing=26, title=title)


def curves_of(name: str, run: Run, kind: str, *, alone: bool) -> list[Curve]:
    """Curves of a run: one, or one per class when it stands alone."""
    classes, log = run.requests.classes, run.log
    seconds = _seconds(log, kind)
    if not alone or len(classes) == 1:
        limits = {_limit(each.slo, kind) for each in classes}
        return [
            Curve(name=name, seconds=_sorted(seconds), limit_s=limits.pop() if len(limits) == 1 else None)
        ]
    return [
        Curve(
            name=each.name,
            seconds=_sorted(seconds[log.class_index == index]),
            limit_s=_limit(each.slo, kind),
        )
        for index, each in enumerate(classes)
    ]


def _seconds(log: RequestLog, kind: str) -> FloatArray:
    if kind == "ttft_s":
        return log.first_s - log.arrival_s
    if kind == "e2e_s":
        return log.finish_s - log.arrival_s
    gaps = (log.out_tokens - 1).astype(np.float64)
    gaps[gaps < 1] = np.nan  # one token has no time between tokens
    return (log.finish_s - log.first_s) / gaps


def _sorted(seconds: FloatArray) -> FloatArray:
    return np.sort(seconds[np.isfinite(seconds)])


def _limit(slo: Slo, kind: str) -> float | None:
    return {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2e_s": slo.e2e_s}[kind]


def points(curve: Curve) -> list[dict[str, Any]]:
    """The curve at no more than ``MOST_POINTS`` places, ends included."""
    count = curve.seconds.size
    ranks = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.int64))
    return [
        {"name": curve.name, "s": float(curve.seconds[rank]), "share": (int(rank) + 1) / count}
        for rank in ranks
    ]


def _marks(curve: Curve) -> list[dict[str, Any]]:
    found = []
    for share in _MARKED:
        seconds = float(curve.seconds[min(curve.seconds.size - 1, math.ceil(share * curve.seconds.size) - 1)])
        found.append(
            {
                "name": curve.name,
                "s": seconds,
                "share": share,
                "text": f"p{100 * share:.0f} {human(seconds, 's')}",
            }
        )
    return found


def _within(curve: Curve, seconds: float) -> float:
    """Part of the requests that took at most so long."""
    return float(np.searchsorted(curve.seconds, seconds, side="right")) / curve.seconds.size


def _domain(curves: Sequence[Curve]) -> tuple[float, float]:
    """Ends of the axis: where the curves are, and the limits; at least a factor of three apart."""
    limits = [curve.limit_s for curve in curves if curve.limit_s is not None]
    low = min([*(float(curve.seconds[0]) for curve in curves), *limits])
    high = max([*(float(curve.seconds[-1]) for curve in curves), *limits])
    low, high = max(low, 1e-6), max(high, 1e-6)
    low, high = low / 1.08, high * (high / low) ** (_TEXT_ROOM if len(curves) == 1 else 0.04)
    spread = max(1.0, math.sqrt(3.0 * low / high))
    return low / spread, high * spread


def _panel(title: str, curves: Sequence[Curve], names: Sequence[str], *, first: bool) -> alt.LayerChart:
    domain = _domain(curves)
    scale = alt.Scale(type="log", domain=list(domain), nice=False, clamp=True)
    x = alt.X("s:Q", title=None, scale=scale, axis=alt.Axis(values=_ticks(domain), labelExpr=_LABEL))
    y = alt.Y(
        "share:Q",
        title="requests" if first else None,
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 0.9, 1], labels=True),
    )
    palette = [theme.SERIES[index % len(theme.SERIES)] for index in range(len(names))]
    colour = alt.Color(
        "name:N",
        title=None,
        sort=list(names),
        scale=alt.Scale(domain=list(names), range=palette),
        legend=alt.Legend(orient="bottom", symbolType="stroke", labelLimit=360, columns=4)
        if len(names) > 1
        else None,
    )
    layers: list[alt.Chart] = []
    limits = [
        {
            "name": curve.name,
            "s": curve.limit_s,
            "text": f"limit {human(curve.limit_s, 's')}",
            "share": 0.7 if _within(curve, curve.limit_s) < 0.3 else 0.04,  # where the curve is not
        }
        for curve in curves
        if curve.limit_s is not None
    ]
    shared = len(limits) == len(curves) and len({limit["s"] for limit in limits}) == 1
    if limits:
        rule = rows_chart(limits[:1] if shared else limits)
        rule = rule.mark_rule(strokeDash=[5, 4], strokeWidth=1.4, color=theme.FAINT_INK)
        layers.append(rule.encode(x=x) if shared else rule.encode(x=x, color=colour))
    lines = rows_chart([row for curve in curves for row in points(curve)])
    layers.append(
        lines.mark_line(strokeWidth=2, interpolate="step-after", clip=True).encode(
            x=x, y=y, color=colour, order=alt.Order("share:Q")
        )
    )
    marks = [row for curve in curves for row in _marks(curve)]
    layers.append(
        rows_chart(marks)
        .mark_circle(size=42, opacity=1, clip=False)
        .encode(x=x, y=y, color=colour, tooltip=["name:N", "text:N"])
    )
    if len(curves) == 1:
        layers += _texts(marks, limits, x, y)
    return layered(
        layers,
        width=_SIZE[0],
        height=_SIZE[1],
        title=alt.TitleParams(text=title, fontSize=13, offset=6),
    )


def _texts(marks: list[dict[str, Any]], limits: list[dict[str, Any]], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Numbers at the dots of a lone curve, below and right of it, and at the line of the limit."""
    texts = [(marks, theme.INK, 7, 8)]
    if limits:
        texts.append((limits, theme.FAINT_INK, 5, 0))
    layers = []
    for rows, colour, dx, dy in texts:
        for halo in (True, False):  # a rim of paper first, so that a line behind does not cross the text
            text = rows_chart(rows).mark_text(
                align="left",
                dx=dx,
                dy=dy,
                fontSize=10.5,
                color=theme.PAPER if halo else colour,
                stroke=theme.PAPER if halo else None,
                strokeWidth=4 if halo else 0,
            )
            layers.append(text.encode(x=x, y=y, text="text:N"))
    return layers


def _ticks(domain: tuple[float, float]) -> list[float]:
    """Round numbers, as many of each decade as there is room for."""
    decades = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])) + 1)
    spread = math.log10(domain[1] / domain[0])
    steps: tuple[int, ...] = (1, 2, 3, 5, 7)
    for most, fewer in ((0.9, (1, 2, 5)), (1.9, (1, 3)), (3.2, (1,))):
        if spread > most:
            steps = fewer
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if domain[0] <= tick <= domain[1]]


_LABEL = (
    "datum.value >= 1 ? format(datum.value, '~g') + ' s' : "
    "datum.value >= 0.001 ? format(datum.value * 1e3, '~g') + ' ms' : format(datum.value * 1e6, '~g') + ' us'"
)
