"""Colours and type of every chart: legible on white and on dark, apart for colour-blind eyes."""

from __future__ import annotations

import re
from typing import Any

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
INK = "#24292f"
FAINT_INK = "#57606a"
GRID = "#e4e8ec"
PAPER = "#ffffff"
GHOST = "#b3bac2"
ON_BAR = "#fffffe"  # white on a coloured bar, on dark pages too

PHASES = {"prefill": "#d9730d", "decode": "#2f6fb3"}

# Okabe and Ito's palette, darkened a little where it would be pale on white.
_COMPUTE = "#d9730d"
_LATENCY = "#8f969e"
_HOST = "#5b6470"
_MEMORY = ("#2f6fb3", "#5fb0e5", "#1c4a7e")
_NETWORK = ("#1a9870", "#74c49d", "#0b5d45", "#a8b545")
_SLABS = {
    "weights": "#2f6fb3",
    "attention": "#2f6fb3",
    "experts": "#1c4a7e",
    "kv": "#1a9870",
    "state": "#74c49d",
    "activations": "#d9730d",
    "free": "#7a838c",
}
_OTHER_SLABS = ("#8f969e", "#b07aa1", "#5b6470", "#c9a227", "#b3bac2", "#7d5a3c")
SERIES = ("#2f6fb3", "#d9730d", "#1a9870", "#b0568f", "#8a6d1d", "#4aa3c7", "#6b4fa0", "#5b6470")


def limit_colours(limits: list[str]) -> list[str]:
    """One colour per limiting resource: memory is blue, networks green, compute orange."""
    fixed = {"compute": _COMPUTE, "latency": _LATENCY, "host": _HOST}
    memory, network = (
        [x for x in limits if x.startswith("memory:")],
        [x for x in limits if x.startswith("network:")],
    )
    memory.sort(key=lambda name: name != "memory:hbm")  # the usual one keeps its colour
    colours = fixed | {name: _MEMORY[i % len(_MEMORY)] for i, name in enumerate(memory)}
    colours |= {name: _NETWORK[i % len(_NETWORK)] for i, name in enumerate(network)}
    return [colours.get(name, _HOST) for name in limits]


def slab_colours(names: list[str]) -> list[str]:
    """One colour per slab of memory; weights are blue, the cache is green."""
    others = [name for name in names if _slab_role(name) not in _SLABS]
    extra = {name: _OTHER_SLABS[i % len(_OTHER_SLABS)] for i, name in enumerate(others)}
    return [extra[name] if name in extra else _SLABS[_slab_role(name)] for name in names]


def _slab_role(name: str) -> str:
    """First word of a slab's name: "kv cache" and "kv" share a colour."""
    return re.split(r"[\W_]+", name.lower())[0]


def config() -> dict[str, Any]:
    """Vega-Lite configuration shared by every chart."""
    return {
        "background": PAPER,
        "font": FONT,
        "padding": 12,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "color": INK,
            "fontSize": 15,
            "subtitleColor": FAINT_INK,
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
            "offset": 14,
        },
        "axis": {
            "labelColor": FAINT_INK,
            "titleColor": INK,
            "titleFontWeight": "normal",
            "titleFontSize": 12,
            "labelFontSize": 11,
            "gridColor": GRID,
            "domainColor": GHOST,
            "tickColor": GHOST,
        },
        "legend": {
            "labelColor": INK,
            "titleColor": FAINT_INK,
            "titleFontWeight": "normal",
            "labelFontSize": 12,
            "titleFontSize": 11,
            "symbolStrokeWidth": 1.5,
        },
        "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "titleColor": INK},
    }
