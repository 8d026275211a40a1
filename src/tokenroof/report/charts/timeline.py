"""What the replicas did over the run: sequences, cache, tokens, replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Estimate, Role
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart, side_by_side, stacked
from tokenroof.report.labels import headline, short_names
from tokenroof.serve.results import TIMELINE, Run

FloatArray = npt.NDArray[np.float64]

MOST_POINTS = 240
"""Points of a curve: bins beyond are averaged."""

MOST_RUNS = 3
"""Runs drawn side by side."""

_WIDTH, _HEIGHT = 620, 112
_SCALES = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))


def timeline(estimates: Sequence[Estimate]) -> alt.VConcatChart | alt.HConcatChart:
    """Panels over the simulated time: sequences, cache in use, tokens per second, replicas up.

    Prefill and decode pools have a line each. Several runs stand side by side, at most ``MOST_RUNS``.
    """
    shown = [(n, e) for n, e in zip(short_names(estimates), estimates, strict=True) if e.run is not None]
    left_out = len(shown) - MOST_RUNS
    shown = shown[:MOST_RUNS]
    width = _WIDTH if len(shown) == 1 else int(1.5 * _WIDTH / len(shown))
    subtitle = headline(estimates) + (f" (the first {MOST_RUNS} runs)" if left_out > 0 else "")
    title = alt.TitleParams(text="The run over time", subtitle=subtitle)
    columns = [_column(name if len(shown) > 1 else "", each, width) for name, each in shown]
    if len(columns) == 1:
        columns[0].title = title
        return columns[0]
    return side_by_side(columns, spacing=30, title=title)


def _column(name: str, estimate: Estimate, width: int) -> alt.VConcatChart:
    assert estimate.run is not None
    end_s = estimate.run.timeline_bin_s * estimate.run.timeline.shape[2]
    unit_s, unit = next((size, unit) for least, size, unit in _SCALES if end_s >= least)
    rows = timeline_rows(estimate, unit_s)
    panels = [
        (title, quantities, mine)
        for title, quantities in _PANELS
        for mine in [[row for row in rows if row["quantity"] in quantities and math.isfinite(row["value"])]]
        if mine and (quantities != (_UP,) or len({round(row["value"], 6) for row in mine}) > 1)
    ]
    drawn = [
        _panel(title, mine, unit if at == len(panels) - 1 else "", end_s / unit_s, width)
        for at, (title, _, mine) in enumerate(panels)
    ]
    heading = alt.TitleParams(text=name, fontSize=13, offset=6)
    return stacked(drawn, spacing=14, title=heading, shared=False)


_UP = "replicas up"
_PANELS = (
    ("sequences", ("running", "waiting")),
    ("cache in use", ("cache",)),
    ("tokens/s", ("prompt tokens", "output tokens")),
    (_UP, (_UP,)),
)
_COLOURS = {
    "running": theme.SERIES[0],
    "waiting": theme.SERIES[3],
    "cache": theme.SERIES[2],
    "prompt tokens": theme.PHASES["prefill"],
    "output tokens": theme.PHASES["decode"],
    _UP: theme.SERIES[7],
}


def timeline_rows(estimate: Estimate, unit_s: float = 1.0) -> list[dict[str, Any]]:
    """Points of every curve of a run: pool, quantity, time in units of ``unit_s``, value."""
    run = estimate.run
    assert run is not None
    rows: list[dict[str, Any]] = []
    # A feed-forward pool comes last and takes no requests of its own.
    for at, pool in enumerate(estimate.deployment.pools[: len(run.setup.pools)]):
        label = "" if pool.role is Role.BOTH else str(pool.role)
        for quantity, values in _curves(run, at, pool.role).items():
            thin, width_s = _thinned(values, run.timeline_bin_s)
            series = f"{label} {quantity}".strip() if label and quantity not in _ONE_POOL else quantity
            rows.extend(
                {
                    "series": series,
                    "pool": label,
                    "quantity": quantity,
                    "at": (index + 0.5) * width_s / unit_s,
                    "value": float(value),
                }
                for index, value in enumerate(thin)
            )
    return rows


_ONE_POOL = frozenset({"prompt tokens", "output tokens"})


def _curves(run: Run, at: int, role: Role) -> dict[str, FloatArray]:
    timeline, setup = run.timeline[at], run.setup.pools[at]
    by_name = dict(zip(TIMELINE, timeline, strict=True))
    room = setup.num_blocks * by_name["up_replicas"]
    cache = np.full_like(room, np.nan)
    np.divide(by_name["used_blocks"], room, out=cache, where=room > 0.0)
    found = {
        "running": by_name["running_seqs"],
        "waiting": by_name["waiting_seqs"],
        "cache": cache,
        _UP: by_name["up_replicas"],
    }
    if role is not Role.DECODE:
        found["prompt tokens"] = by_name["prefill_tokens"] / run.timeline_bin_s
    if role is not Role.PREFILL:
        found["output tokens"] = by_name["decode_tokens"] / run.timeline_bin_s
    return found


def _thinned(values: FloatArray, bin_s: float) -> tuple[FloatArray, float]:
    """Means over so many bins that few enough points are left, and their width. [s]"""
    times = math.ceil(values.size / MOST_POINTS)
    whole = values[: values.size // times * times].reshape(-1, times)
    means = whole.mean(axis=1)
    rest = values[whole.size :]
    return (np.append(means, rest.mean()) if rest.size else means), bin_s * times


def _panel(title: str, rows: list[dict[str, Any]], unit: str, end: float, width: int) -> alt.LayerChart:
    names = list(dict.fromkeys(row["series"] for row in rows))
    quantity = {row["series"]: row["quantity"] for row in rows}
    pools = list(dict.fromkeys(row["pool"] for row in rows))
    share = title == "cache in use"
    highest = max(row["value"] for row in rows)
    x = alt.X(
        "at:Q",
        title=f"simulated time [{unit}]" if unit else None,
        scale=alt.Scale(domain=[0, end], nice=False),
        axis=alt.Axis(labels=bool(unit), ticks=bool(unit), tickCount=8),
    )
    y = alt.Y(
        "value:Q",
        title=title,
        scale=alt.Scale(domain=[0, 1 if share else max(highest * 1.06, 1e-9)], nice=False),
        axis=_whole(highest)
        if title == _UP
        else alt.Axis(tickCount=4, format=_format(share, highest), minExtent=40),
    )
    colour = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=names, range=[_COLOURS[quantity[name]] for name in names]),
        legend=alt.Legend(orient="right", symbolType="stroke", offset=8) if len(names) > 1 else None,
    )
    line = rows_chart(rows).mark_line(
        strokeWidth=1.5, interpolate="step" if title == _UP else "linear", clip=True
    )
    encoded: dict[str, Any] = {"x": x, "y": y, "color": colour}
    if len(pools) > 1 and not set(quantity.values()) <= _ONE_POOL:
        dashes = [[5, 3] if pool == pools[0] else [1, 0] for pool in pools]
        by_series = {row["series"]: dashes[pools.index(row["pool"])] for row in rows}
        encoded["strokeDash"] = alt.StrokeDash(
            "series:N", title=None, scale=alt.Scale(domain=names, range=[by_series[name] for name in names])
        )
    drawn = line.encode(**encoded, tooltip=["series:N", alt.Tooltip("value:Q", format=".3s")])
    return layered([drawn], width=width, height=_HEIGHT, title=alt.TitleParams(text=""))


def _whole(highest: float) -> alt.Axis:
    """Ticks at whole numbers, about four of them."""
    step = max(1, math.ceil(highest / 4))
    return alt.Axis(values=list(range(0, math.ceil(highest) + 1, step)), format="d", minExtent=40)


def _format(share: bool, highest: float) -> str:
    if share:
        return ".0%"
    if highest >= 1000:
        return "~s"
    return "d" if highest >= 4 else ".1~f"
