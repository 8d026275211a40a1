"""Distributions as they are written in a spec: ``1000``, ``"lognormal:mean=1000,sigma=0.8"``, a mapping."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, cast

import numpy as np
from pydantic import PlainValidator

from tokenroof.api.spec.kinds import number, whole_number
from tokenroof.workload.core import Lengths
from tokenroof.workload.delays import Delays, ExponentialDelay, FixedDelay, LognormalDelay
from tokenroof.workload.inputs import MAX_TOKENS
from tokenroof.workload.lengths import (
    Empirical,
    Fixed,
    Lognormal,
    Normal,
    Uniform,
    UniformAround,
    UniformRange,
)

LENGTHS: dict[str, tuple[str, ...]] = {
    "fixed": ("tokens",),
    "uniform": ("low", "high"),
    "range": ("tokens", "ratio"),
    "around": ("tokens", "ratio"),
    "lognormal": ("mean", "median", "sigma", "max", "min"),
    "normal": ("mean", "stdev", "max", "min"),
    "empirical": ("values", "weights"),
}
"""Distributions of token counts and their parameters.

``range`` is ``--random-range-ratio`` of SGLang's client (ratio x tokens to tokens), ``around`` that of
vLLM's (tokens plus and minus ratio).
"""

DELAYS: dict[str, tuple[str, ...]] = {
    "fixed": ("s",),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma", "max"),
}
"""Distributions of waiting times and their parameters. [s]"""

_WHOLE = frozenset({"tokens", "low", "high", "max", "min"})
_LISTS = frozenset({"values", "weights"})


def lengths(given: object) -> Any:
    """A distribution of token counts as a mapping of its ``kind`` and numbers; an object stays one.

    Raises
    ------
    ValueError
        An unknown kind or parameter, one that is missing, or a number that is none.
    """
    if hasattr(given, "sample") and hasattr(given, "mean_tokens"):
        return given
    if isinstance(given, list | tuple):
        given = {"kind": "empirical", "values": given}
    if isinstance(given, str):
        given = _from_text(given, "tokens")
    if not isinstance(given, Mapping):
        return {"kind": "fixed", "tokens": whole_number(given, least=1)}
    found = _parameters(given, LENGTHS, "lengths", _length_parameter)
    lengths_of(found)  # refuses what contradicts itself, here, where the place is known
    return found


def lengths_of(said: Any) -> Lengths:
    """The distribution that :func:`lengths` describes."""
    if not isinstance(said, Mapping):
        return cast(Lengths, said)
    given = {name: value for name, value in said.items() if name != "kind"}
    _need(said, {"normal": ("mean", "stdev"), "lognormal": ("sigma",), "empirical": ("values",)})
    match said["kind"]:
        case "fixed":
            _need(said, {"fixed": ("tokens",)})
            return Fixed(tokens=given["tokens"])
        case "uniform":
            _need(said, {"uniform": ("low", "high")})
            return Uniform(low_tokens=given["low"], high_tokens=given["high"])
        case "range" | "around":
            _need(said, {"range": ("tokens", "ratio"), "around": ("tokens", "ratio")})
            kind = UniformRange if said["kind"] == "range" else UniformAround
            return kind(nominal_tokens=given["tokens"], range_ratio=given["ratio"])
        case "lognormal":
            return _lognormal(given)
        case "normal":
            return Normal(
                center_tokens=given["mean"],
                stdev_tokens=given["stdev"],
                max_tokens=given.get("max", MAX_TOKENS),
                min_tokens=given.get("min", 1),
            )
        case _:
            weights = given.get("weights")
            return Empirical(
                lengths_tokens=np.array(given["values"], dtype=np.int64),
                weights=None if weights is None else np.array(weights, dtype=np.float64),
            )


def _lognormal(given: Mapping[str, Any]) -> Lognormal:
    bounds = {"max_tokens": given.get("max", MAX_TOKENS), "min_tokens": given.get("min", 1)}
    if ("mean" in given) == ("median" in given):
        raise ValueError("lognormal lengths need mean or median, one of the two")
    if "mean" in given:
        return Lognormal.from_mean(mean_tokens=given["mean"], sigma=given["sigma"], **bounds)
    return Lognormal(median_tokens=given["median"], sigma=given["sigma"], **bounds)


def delays(given: object) -> Any:
    """A distribution of waiting times as a mapping of its ``kind`` and numbers. [s]

    Raises
    ------
    ValueError
        As :func:`lengths`.
    """
    if hasattr(given, "sample") and hasattr(given, "mean_s"):
        return given
    if isinstance(given, str) and ":" in given:
        given = _from_text(given, "s")
    if not isinstance(given, Mapping):
        return {"kind": "fixed", "s": number(given, "s", least=0.0, above=False)}
    found = _parameters(given, DELAYS, "delays", _delay_parameter)
    delays_of(found)
    return found


def delays_of(said: Any) -> Delays:
    """The distribution that :func:`delays` describes."""
    if not isinstance(said, Mapping):
        return cast(Delays, said)
    _need(said, DELAYS)
    match said["kind"]:
        case "fixed":
            return FixedDelay(delay_s=said["s"])
        case "exponential":
            return ExponentialDelay(mean_s=said["mean"])
        case _:
            return LognormalDelay(median_s=said["median"], sigma=said["sigma"], max_s=said["max"])


def _parameters(
    given: Mapping[str, object], kinds: Mapping[str, tuple[str, ...]], what: str, read: Any
) -> dict[str, Any]:
    kind = given.get("kind")
    if kind not in kinds:
        near = difflib.get_close_matches(str(kind), list(kinds), n=1, cutoff=0.4)
        hint = f"Nearest: {near[0]}. " if near else ""
        raise ValueError(f"unknown kind of {what} {kind!r}. {hint}Known: {', '.join(kinds)}")
    found: dict[str, Any] = {"kind": kind}
    for name, value in given.items():
        if name == "kind":
            continue
        if name not in kinds[str(kind)]:
            raise ValueError(f"{kind} {what} have no {name!r}. Known: {', '.join(kinds[str(kind)])}")
        try:
            found[name] = read(name, value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return found


def _need(said: Mapping[str, Any], needs: Mapping[str, tuple[str, ...]]) -> None:
    missing = [name for name in needs.get(said["kind"], ()) if name not in said]
    if missing:
        raise ValueError(f"{said['kind']} needs {' and '.join(missing)}")


def _length_parameter(name: str, value: object) -> Any:
    if name in _WHOLE:
        return whole_number(value, least=1)
    if name in _LISTS:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"must be a list of numbers, got {value!r}")
        if name == "values":
            return tuple(whole_number(each, least=1) for each in value)
        return tuple(number(each, "1", least=0.0, above=False) for each in value)
    return number(value, "1", least=0.0, above=name != "ratio")


def _delay_parameter(name: str, value: object) -> float:
    return number(value, "1" if name == "sigma" else "s", least=0.0, above=name != "s")


_EXAMPLES = {"tokens": "1000, or 'lognormal:mean=1000,sigma=0.8'", "s": "'2 s', or 'exponential:mean=2'"}


def _from_text(text: str, what: str) -> object:
    """A number alone, or a kind and its parameters."""
    kind, colon, rest = text.strip().partition(":")
    if not colon:
        return _plain_number(kind, what)
    found: dict[str, object] = {"kind": kind.strip()}
    for part in rest.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"expected name=number after {kind}:, got {part!r}. Write {_EXAMPLES[what]}")
        found[name.strip()] = _plain_number(value, what)
    return found


def _plain_number(text: str, what: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        message = f"expected a number or a distribution, got {text!r}. Write {_EXAMPLES[what]}"
        raise ValueError(message) from None


LengthsLike = Annotated[Any, PlainValidator(lengths)]
DelaysLike = Annotated[Any, PlainValidator(delays)]
