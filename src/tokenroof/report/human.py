"""Numbers as people read them: milliseconds and gigabytes in text. Axes of charts scale their own values."""

from __future__ import annotations

import math

from tokenroof.units import format_si

# Units that read best with a decimal prefix, as ``tokenroof.units`` writes them.
_PREFIXED = frozenset(
    {"bytes", "bytes/s", "flop", "flop/s", "s", "W", "J", "J/byte", "J/flop", "Hz", "kgCO2e", "kgCO2e/kWh"}
)
_LONG_S, _HOURS_S = 120.0, 7200.0


def digits(value: float) -> str:
    """Three significant digits; thousands are grouped.

    Examples
    --------
    >>> digits(7462), digits(0.01234), digits(98.7), digits(0.0)
    ('7,462', '0.0123', '98.7', '0')
    >>> digits(0.9996), digits(99.96)
    ('1.00', '100')
    """
    if not math.isfinite(value):
        return "n/a"
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 1e15 or magnitude < 1e-4:
        return f"{value:.2e}"
    rounded = float(f"{magnitude:.2e}")  # first, or 0.9996 would keep the places of a number below 1
    places = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:,.{places}f}"


def human(value: float | None, unit: str = "") -> str:
    """A number in base units as text with a readable unit.

    Parameters
    ----------
    value : float or None
        In base units; None and not-finite read "n/a".
    unit : str
        Base unit as metrics and quantities state it.

    Returns
    -------
    str
        For example "141 GB", "18.2 ms", "$1.60/Mtok", "52.1".

    Examples
    --------
    >>> human(141.1e9, "bytes"), human(0.0182, "s"), human(989e12, "flop/s")
    ('141 GB', '18.2 ms', '989 TFLOP/s')
    >>> human(1.6, "USD/Mtok"), human(7462, "blocks"), human(0.9, "1")
    ('$1.60/Mtok', '7,462 blocks', '0.9')
    """
    if value is None or not math.isfinite(value):
        return "n/a"
    value = float(value)
    if unit == "1":
        return format_si(value, "1")
    if unit.startswith("USD"):
        return _money(value, unit.removeprefix("USD"))
    if unit == "s" and abs(value) >= _LONG_S:
        minutes = abs(value) < _HOURS_S
        return f"{digits(value / 60)} min" if minutes else f"{digits(value / 3600)} h"
    if unit in _PREFIXED:
        return format_si(value, unit)
    number = f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else digits(value)
    return f"{number} {unit}".rstrip()


def _money(value: float, rest: str) -> str:
    if 0 < abs(value) < 0.1:
        return f"${digits(value)}{rest}"
    return f"${value:,.2f}{rest}" if abs(value) < 1000 else f"${value:,.0f}{rest}"


def human_range(low: float, high: float, unit: str = "") -> str:
    """Two ends in one unit where they can share it: "350 - 480 ms", "950 us - 1.20 ms".

    Examples
    --------
    >>> human_range(0.35, 0.48, "s"), human_range(95e-5, 12e-4, "s"), human_range(1.5, 2.0, "USD/Mtok")
    ('350 - 480 ms', '950 us - 1.2 ms', '$1.50 - $2.00/Mtok')
    >>> human_range(350.0, 480.0)
    '350 - 480'
    """
    texts = human(low, unit), human(high, unit)
    if unit.startswith("USD"):
        rest = unit.removeprefix("USD")
        return f"{texts[0].removesuffix(rest)} - {texts[1]}"
    ends = [text.partition(" ") for text in texts]
    if ends[0][2] == ends[1][2]:
        return f"{ends[0][0]} - {texts[1]}"
    return " - ".join(texts)


def share(fraction: float) -> str:
    """A part of a whole as whole percent; what rounds to nothing but is not reads "< 1 %".

    Examples
    --------
    >>> share(0.521), share(0.002), share(0.0)
    ('52 %', '< 1 %', '0 %')
    """
    if 0 < fraction < 0.005:
        return "< 1 %"
    return f"{100 * fraction:.0f} %"


def limit_name(limit: str) -> str:
    """What a limiting resource is called in text: "memory:hbm" reads "hbm bandwidth".

    Examples
    --------
    >>> limit_name("memory:hbm"), limit_name("network:nvlink4"), limit_name("host")
    ('hbm bandwidth', 'nvlink4 bandwidth', 'host overhead')
    """
    group, _, name = limit.partition(":")
    if name:
        return f"{name} bandwidth"
    return {"latency": "latency floors", "host": "host overhead"}.get(group, group)
