"""Where the memory of one chip goes, slab after slab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from tokenroof.deploy.core import Capacity, Estimate
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import Align, layered, panelled, rows_chart
from tokenroof.report.human import human
from tokenroof.report.labels import headline, short_names

_COLUMNS = 3
_ROW = 21


def memory(estimates: Sequence[Estimate]) -> alt.ConcatChart:
    """One waterfall per chip and memory tier: every slab starts where the one before it ended. [GB]

    Every panel has its own axis, as long as what it holds; a model that does not fit is drawn too.
    """
    shown = [
        (_panel_name(name, estimate, tier if len(tiers) > 1 else ""), rows)
        for name, estimate in zip(short_names(estimates), estimates, strict=True)
        if estimate.capacity is not None
        for tiers in [slabs(estimate.capacity)]
        for tier, rows in tiers.items()
    ]
    names = list(dict.fromkeys(row["slab"] for _, rows in shown for row in rows))
    width = 560 if len(shown) == 1 else 250
    panels = [_panel(name, rows, names, width) for name, rows in shown]
    title = alt.TitleParams(text="Memory of one chip [GB]", subtitle=headline(estimates))
    return panelled(panels, columns=_COLUMNS, spacing=24, title=title)


def _panel_name(name: str, estimate: Estimate, tier: str) -> str:
    fits = "" if estimate.feasible else ": infeasible"
    return f"{name}, {tier}{fits}" if tier else f"{name}{fits}"


def slabs(capacity: Capacity) -> dict[str, list[dict[str, Any]]]:
    """Floating bars by tier: where each slab begins and ends. [GB]

    Slabs "weights: dense", "weights: experts", ... are one; the table has the parts.
    """
    tiers: dict[str, list[dict[str, Any]]] = {}
    for item in capacity.items:
        rows = tiers.setdefault(item.tier, [])
        name, end = item.name.partition(":")[0], rows[-1]["to"] if rows else 0.0
        size = float(item.bytes) / 1e9
        if rows and rows[-1]["slab"] == name:
            rows[-1]["to"] += size
        elif size:
            rows.append({"slab": name, "from": end, "to": end + size, "note": item.note or "-"})
    for rows in tiers.values():
        for row in rows:
            row["text"] = human((row["to"] - row["from"]) * 1e9, "bytes")
    return tiers


def _panel(label: str, rows: list[dict[str, Any]], names: list[str], width: int) -> alt.LayerChart:
    largest = max(row["to"] for row in rows)
    for row in rows:
        # where there is no room on the right the figure stands left of its bar, or in it
        row["side"] = (
            "right" if row["to"] < 0.8 * largest else "left" if row["from"] > 0.2 * largest else "in"
        )
    y = alt.Y(
        "slab:N",
        title=None,
        sort=[row["slab"] for row in rows],
        axis=alt.Axis(labelLimit=170, minExtent=72, ticks=False, domain=False),
    )
    scale = alt.Scale(domain=[0, largest * 1.03], nice=False)
    bars = (
        rows_chart(rows)
        .mark_bar(height=13)
        .encode(
            x=alt.X("from:Q", title=None, scale=scale, axis=alt.Axis(tickCount=5, domain=False)),
            x2="to:Q",
            y=y,
            color=alt.Color(
                "slab:N", scale=alt.Scale(domain=names, range=theme.slab_colours(names)), legend=None
            ),
            tooltip=["slab:N", "text:N", "note:N"],
        )
    )
    layers: list[alt.Chart] = [bars]
    sides: tuple[tuple[str, Align, int, str, str], ...] = (
        ("right", "left", 4, "to", theme.INK),
        ("left", "right", -4, "from", theme.INK),
        ("in", "right", -4, "to", theme.ON_BAR),
    )
    for side, align, dx, edge, colour in sides:
        mine = [row for row in rows if row["side"] == side]
        if mine:
            text = rows_chart(mine).mark_text(align=align, dx=dx, fontSize=10.5, color=colour)
            layers.append(text.encode(x=alt.X(f"{edge}:Q", scale=scale), y=y, text="text:N"))
    return layered(
        layers,
        width=width,
        height=_ROW * len(rows),
        title=alt.TitleParams(text=label, fontSize=13, offset=6),
    )
