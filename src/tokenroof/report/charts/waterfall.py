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
    """One waterfall per estimate: every slab starts where the one before it ended. [GB]

    A chip with several memories has one staircase per tier, named in front of the slab.
    """
    shown = [
        (name, estimate.capacity)
        for name, estimate in zip(short_names(estimates), estimates, strict=True)
        if estimate.capacity is not None and estimate.capacity.items
    ]
    largest = max((row["to"] for _, capacity in shown for row in slabs(capacity)), default=1.0)
    names = list(dict.fromkeys(item.name for _, capacity in shown for item in capacity.items))
    width = 560 if len(shown) == 1 else 250
    panels = [_panel(name, capacity, names, largest, width) for name, capacity in shown]
    title = alt.TitleParams(text="Memory of one chip [GB]", subtitle=headline(estimates))
    return panelled(panels, columns=_COLUMNS, spacing=24, title=title)


def slabs(capacity: Capacity) -> list[dict[str, Any]]:
    """Floating bars: from and to within the slab's tier. [GB]"""
    several = len({item.tier for item in capacity.items}) > 1
    ends: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    for item in capacity.items:
        start = ends.get(item.tier, 0.0)
        ends[item.tier] = start + float(item.bytes)
        rows.append(
            {
                "slab": f"{item.tier}: {item.name}" if several else item.name,
                "name": item.name,
                "tier": item.tier,
                "from": start / 1e9,
                "to": ends[item.tier] / 1e9,
                "text": human(item.bytes, "bytes"),
                "note": item.note or "-",
            }
        )
    return rows


def _panel(label: str, capacity: Capacity, names: list[str], largest: float, width: int) -> alt.LayerChart:
    rows = slabs(capacity)
    for row in rows:
        # near the right edge the figure stands left of its bar
        row["inside"] = row["to"] > 0.8 * largest
    y = alt.Y(
        "slab:N",
        title=None,
        sort=[row["slab"] for row in rows],
        axis=alt.Axis(labelLimit=170, ticks=False, domain=False),
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
                "name:N", scale=alt.Scale(domain=names, range=theme.slab_colours(names)), legend=None
            ),
            tooltip=["slab:N", "text:N", "note:N"],
        )
    )
    layers: list[alt.Chart] = [bars]
    sides: tuple[tuple[bool, Align, int, str], ...] = ((False, "left", 4, "to"), (True, "right", -4, "from"))
    for inside, align, dx, edge in sides:
        mine = [row for row in rows if row["inside"] is inside]
        if mine:
            text = rows_chart(mine).mark_text(align=align, dx=dx, fontSize=10.5, color=theme.INK)
            layers.append(text.encode(x=alt.X(f"{edge}:Q", scale=scale), y=y, text="text:N"))
    return layered(
        layers,
        width=width,
        height=_ROW * len(rows),
        title=alt.TitleParams(text=label, fontSize=13, offset=6),
    )
