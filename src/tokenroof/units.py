"""Quantities as text at the border: "3.35 TB/s" in, 3.35e12 bytes/s out, and back for people to read.

Inside the package numbers are floats in base units with the unit in the name; text with units exists only in
data files, on the command line and in reports. Prefixes are decimal (GB = 1e9); binary only when
written (GiB). ``B`` is a byte and ``b`` a bit. A multiply-accumulate counts as two flop.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from functools import lru_cache

from tokenroof.errors import UnitError

_DECIMAL = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_SMALL = {"m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_TOKENS = {"k": 1e3, "K": 1e3, "M": 1e6}
_BOTH = _DECIMAL | _SMALL
_LENGTH = _SMALL | {"c": 1e-2, "k": 1e3}
_SIZE = _DECIMAL | _BINARY

# symbol -> (factor to the base, powers of the base dimensions, allowed prefixes)
_Dimensions = tuple[tuple[str, int], ...]
_SYMBOLS: dict[str, tuple[float, dict[str, int], dict[str, float]]] = {
    "": (1.0, {}, {}),
    "%": (0.01, {}, {}),
    "flop": (1.0, {"flop": 1}, _DECIMAL),
    "flops": (1.0, {"flop": 1, "s": -1}, _DECIMAL),
    "op": (1.0, {"flop": 1}, _DECIMAL),
    "ops": (1.0, {"flop": 1, "s": -1}, _DECIMAL),
    "B": (1.0, {"byte": 1}, _SIZE),
    "byte": (1.0, {"byte": 1}, _SIZE),
    "bytes": (1.0, {"byte": 1}, _SIZE),
    "b": (0.125, {"byte": 1}, _SIZE),
    "bit": (0.125, {"byte": 1}, _SIZE),
    "bits": (0.125, {"byte": 1}, _SIZE),
    "s": (1.0, {"s": 1}, _SMALL),
    "min": (60.0, {"s": 1}, {}),
    "h": (3600.0, {"s": 1}, {}),
    "day": (86400.0, {"s": 1}, {}),
    "month": (2629800.0, {"s": 1}, {}),
    "year": (31557600.0, {"s": 1}, {}),
    "Hz": (1.0, {"s": -1}, _DECIMAL),
    "J": (1.0, {"J": 1}, _BOTH),
    "W": (1.0, {"J": 1, "s": -1}, _BOTH),
    "Wh": (3600.0, {"J": 1}, _DECIMAL),
    "USD": (1.0, {"USD": 1}, {"k": 1e3, "M": 1e6}),
    "gCO2e": (1e-3, {"kgCO2e": 1}, {"k": 1e3, "m": 1e-3}),
    "tCO2e": (1e3, {"kgCO2e": 1}, {"k": 1e3}),
    "m": (1.0, {"m": 1}, _LENGTH),
    "m2": (1.0, {"m": 2}, {prefix: factor**2 for prefix, factor in _LENGTH.items()}),
    "degC": (1.0, {"degC": 1}, {}),
    "tok": (1.0, {"token": 1}, _TOKENS),
    "token": (1.0, {"token": 1}, _TOKENS),
    "tokens": (1.0, {"token": 1}, _TOKENS),
}
_ANY_CASE = {"flop", "flops", "op", "ops", "byte", "bytes", "bit", "bits"}  # TFLOP/s, GBytes, Gbit

_TEXT = re.compile(r"\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(.*?)\s*", re.DOTALL)
_EXAMPLES = {
    "flop/s": "989.4 TFLOP/s", "bytes": "80 GB", "bytes/s": "3.35 TB/s", "s": "1 us", "W": "700 W",
    "J": "1 J", "J/byte": "3.5 pJ/bit", "J/flop": "0.5 pJ/flop", "USD/h": "1.3 USD/h", "USD": "50000 USD",
    "USD/kWh": "0.082 USD/kWh", "kgCO2e": "164 kgCO2e", "kgCO2e/kWh": "473 gCO2e/kWh", "mm2": "814 mm2",
    "1": "0.9", "Hz": "1.98 GHz",
}  # fmt: skip


def _spellings() -> Iterator[str]:
    for symbol, (_, _, prefixes) in _SYMBOLS.items():
        yield symbol
        yield from (prefix + symbol for prefix in prefixes)


@lru_cache(maxsize=1024)
def _factor(unit: str) -> tuple[float, _Dimensions]:
    """Factor to base units and powers of the base dimensions of a unit expression such as "GB/s"."""
    factor = 1.0
    powers: dict[str, int] = {}
    for place, part in enumerate(unit.split("/")):
        sign = 1 if place == 0 else -1
        part_factor, part_powers = _symbol("" if part == "1" else part, unit)
        factor *= part_factor**sign
        for dimension, power in part_powers.items():
            powers[dimension] = powers.get(dimension, 0) + sign * power
    return factor, tuple(sorted((d, p) for d, p in powers.items() if p))


def _symbol(part: str, unit: str) -> tuple[float, dict[str, int]]:
    text = part.strip()
    if text in _SYMBOLS:
        factor, powers, _ = _SYMBOLS[text]
        return factor, powers
    for length in (1, 2):
        prefix, rest = text[:length], text[length:]
        symbol = rest.lower() if rest.lower() in _ANY_CASE else rest
        if symbol and symbol in _SYMBOLS and prefix in _SYMBOLS[symbol][2]:
            factor, powers, prefixes = _SYMBOLS[symbol]
            return factor * prefixes[prefix], powers
    if text.lower() in _ANY_CASE:
        factor, powers, _ = _SYMBOLS[text.lower()]
        return factor, powers
    near = difflib.get_close_matches(text, sorted(set(_spellings())), n=3, cutoff=0.5)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    where = f" in {unit!r}" if text != unit.strip() else ""
    raise UnitError(f"unknown unit {text!r}{where}.{hint} Prefixes are decimal (GB) unless written GiB.")


def _advice(text: str, number: str, unit: str, dimension: str) -> str:
    """The next step: the given text with what is missing, or an example of the dimension."""
    tail = "/" + dimension.partition("/")[2].replace("byte", "bit")
    if unit and tail != "/" and _factor(unit + tail)[1] == _factor(dimension)[1]:
        return f"Write '{text.strip()}{tail}'."
    example = _EXAMPLES.get(dimension, f"1 {dimension}")
    if not unit and dimension in _EXAMPLES:
        example = f"{number} {_EXAMPLES[dimension].split(maxsplit=1)[-1]}"
    return f"Write for example '{example}'."


def parse(text: str, dimension: str) -> float:
    """The number that a text with a unit means, in the base unit named by ``dimension``.

    Parameters
    ----------
    text : str
        A number and a unit: "3.35 TB/s", "80 GiB", "400 Gb/s", "3.5 pJ/bit", "143,771 MiB".
    dimension : str
        The base unit to convert to: "bytes/s", "flop/s", "J/byte", "USD/kWh", "mm2", "1", ...

    Returns
    -------
    float
        The value. [dimension]

    Raises
    ------
    UnitError
        No number, no unit, an unknown unit (the nearest are offered), or one of another dimension.

    Examples
    --------
    >>> parse("3.35 TB/s", "bytes/s")
    3350000000000.0
    >>> parse("400 Gb/s", "bytes/s")
    50000000000.0
    """
    match = _TEXT.fullmatch(text)
    number, unit = match.groups() if match else ("", "")
    if not re.search(r"\d", number):
        raise UnitError(f"expected {dimension}, got {text!r}, which has no number. "
                        f"Write for example '{_EXAMPLES.get(dimension, '1 ' + dimension)}'.")  # fmt: skip
    value = float(number.replace(",", ""))
    target, target_powers = _factor(dimension)
    if unit == "" and target_powers:
        raise UnitError(f"expected {dimension}, got {text!r}. {_advice(text, number, unit, dimension)}")
    factor, powers = _factor(unit)
    if powers != target_powers:
        raise UnitError(f"expected {dimension}, got {text!r}. {_advice(text, number, unit, dimension)}")
    result = value * (factor / target)
    if not math.isfinite(result):
        raise UnitError(f"expected {dimension}, got {text!r}, which is too large. Write a finite number.")
    return result


_SHOWN: dict[str, tuple[str, str, dict[str, float]]] = {
    "bytes": ("B", "", _DECIMAL),
    "bytes/s": ("B/s", "", _DECIMAL),
    "flop/s": ("FLOP/s", "", _DECIMAL),
    "flop": ("FLOP", "", _DECIMAL),
    "flop/byte": ("FLOP/B", "", {}),
    "s": ("s", "", _SMALL),
    "W": ("W", "", {k: v for k, v in _BOTH.items() if k in "kMGm"}),
    "J": ("J", "", _BOTH),
    "J/byte": ("J/bit", "J/bit", _SMALL),
    "J/flop": ("J/FLOP", "", _SMALL),
    "Hz": ("Hz", "", _DECIMAL),
    "kgCO2e": ("gCO2e", "gCO2e", {"k": 1e3, "m": 1e-3}),
    "kgCO2e/kWh": ("gCO2e/kWh", "gCO2e/kWh", {}),
}
_HIDDEN_PREFIXES = frozenset({"K", "µ", "μ"})  # second spellings of k and u


def format_si(value: float, unit: str, *, digits: int = 3) -> str:
    """A number with the prefix that reads best; the text parses back to the same value.

    Parameters
    ----------
    value : float
        In the base unit ``unit``.
    unit : str
        Base unit: "bytes/s", "s", "J/byte", "USD/h", ...; one without a rule keeps its name, unprefixed.
    digits : int
        Significant digits.

    Returns
    -------
    str
        Such as "3.35 TB/s", "12.3 ms", "3.5 pJ/bit", "1.3 USD/h", or "0.9" for a bare number ("1").

    Examples
    --------
    >>> format_si(3.35e12, "bytes/s")
    '3.35 TB/s'
    >>> format_si(28e-12, "J/byte")
    '3.5 pJ/bit'
    """
    if unit == "1":
        return _digits(value, digits)
    symbol, shown, prefixes = _SHOWN.get(unit, (unit, "", {}))
    scaled = value / (_factor(shown)[0] / _factor(unit)[0]) if shown else value
    if not scaled or not math.isfinite(scaled):
        return f"{_digits(scaled, digits)} {symbol}"
    steps = {1.0: ""} | {factor: p for p, factor in prefixes.items() if p not in _HIDDEN_PREFIXES}
    size = abs(float(f"{scaled:.{digits}g}"))
    factor = max((step for step in steps if step <= size), default=min(steps))
    return f"{_digits(scaled / factor, digits)} {steps[factor]}{symbol}"


def _digits(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e" in text and math.isfinite(value) and 1e-4 <= abs(value) < 1e15:
        return f"{float(text):.0f}" if abs(value) >= 1 else text
    return text
