"""Kinds of values in a spec: numbers with or without a unit, whole numbers, distributions of lengths."""

from __future__ import annotations

import math
import operator
from typing import Annotated, Any

from pydantic import PlainValidator

from tokenroof.errors import InputError
from tokenroof.units import parse


def number(given: object, unit: str, *, least: float, above: bool, most: float = math.inf) -> float:
    """A finite number, or a text with a unit, in the base unit ``unit``.

    Raises
    ------
    ValueError
        Anything else, or one outside ``least`` .. ``most`` (``above``: ``least`` itself is outside).
    """
    if isinstance(given, str):
        value = parse(given, unit)
    elif isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"must be a number{_of(unit)}, got {given!r}")
    else:
        value = float(given)
    rule = f"must be {'above' if above else 'at least'} {least:g}"
    if math.isfinite(most):
        rule += f" and at most {most:g}"
    if not math.isfinite(value) or value < least or (above and value == least) or value > most:
        raise ValueError(f"{rule}, got {given!r}")
    return value


def _of(unit: str) -> str:
    return "" if unit == "1" else f" of {unit}"


def whole_number(given: object, *, least: int) -> int:
    """A whole number of at least ``least``.

    Raises
    ------
    ValueError
        Anything else: a fraction, a bool, text.
    """
    rule = f"must be a whole number of at least {least}, got {given!r}"
    if isinstance(given, bool):
        raise ValueError(rule)
    try:
        value = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(rule) from None
    if value < least:
        raise ValueError(rule)
    if value > 10**12:
        raise ValueError(f"must be at most {10**12:,}, got {given!r}")
    return value


def _number(unit: str, *, least: float = 0.0, above: bool, most: float = math.inf) -> PlainValidator:
    return PlainValidator(lambda given: number(given, unit, least=least, above=above, most=most))


def _whole(least: int) -> PlainValidator:
    return PlainValidator(lambda given: whole_number(given, least=least))


Seconds = Annotated[float, _number("s", above=True)]
Delay = Annotated[float, _number("s", above=False)]
Bytes = Annotated[float, _number("bytes", above=True)]
ByteRate = Annotated[float, _number("bytes/s", above=True)]
Rate = Annotated[float, _number("1/s", above=True)]
Positive = Annotated[float, _number("1", above=True)]
AtLeastOne = Annotated[float, _number("1", least=1.0, above=False)]
Fraction = Annotated[float, _number("1", above=False, most=1.0)]
Count = Annotated[int, _whole(1)]
Whole = Annotated[int, _whole(0)]


def _rates(given: object) -> tuple[float, ...]:
    several = given if isinstance(given, list | tuple) else (given,)
    if not several:
        raise ValueError("must not be an empty list. Write rates, as [2, 4, 8]")
    return tuple(number(each, "1/s", least=0.0, above=True) for each in several)


Rates = Annotated[tuple[float, ...], PlainValidator(_rates)]


def anything(given: object) -> object:
    """What the API resolves itself: a name, a path, an object; not nothing.

    Raises
    ------
    InputError
        None, or an empty text.
    """
    if given is None or given == "":
        raise InputError("must be a name, got nothing.")
    return given


Named = Annotated[Any, PlainValidator(anything)]
