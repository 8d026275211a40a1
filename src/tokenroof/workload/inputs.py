"""Checks that synthetic workloads share, and the random streams that a seed stands for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError

MAX_TOKENS = 2**30
"""Longest prompt or answer, as ``check_requests`` has it. [tokens]"""

MAX_REQUESTS = 2**28
"""Most requests of one workload; their columns alone are 13 GB."""


def check_whole(owner: str, name: str, value: object, *, least: int, most: int = MAX_TOKENS) -> None:
    """Refuse what is not a whole number within bounds.

    Raises
    ------
    InputError
        With owner, name, bounds and what was given.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise InputError(f"{owner}: {name} must be a whole number, got {value!r}.")
    if not least <= int(value) <= most:
        bounds = f"at least {least}" if int(value) < least else f"at most {most}"
        raise InputError(f"{owner}: {name} must be {bounds}, got {value}.")


def check_number(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float = 0.0,
    most: float = math.inf,
) -> None:
    """Refuse what is not a finite number of at least ``least`` (or above ``above``) and at most ``most``.

    Raises
    ------
    InputError
        With owner, name, bounds and what was given.
    """
    if (
        not isinstance(value, int | float | np.integer | np.floating)
        or isinstance(value, bool)
        or not math.isfinite(value)
    ):
        raise InputError(f"{owner}: {name} must be a finite number, got {value!r}.")
    if above is not None and not value > above:
        raise InputError(f"{owner}: {name} must be above {above:g}, got {value!r}.")
    if value < least or value > most:
        rule = f"at least {least:g}" if value < least else f"at most {most:g}"
        raise InputError(f"{owner}: {name} must be {rule}, got {value!r}.")


def as_column(owner: str, name: str, values: Any, dtype: type) -> npt.NDArray[Any]:
    """A read-only copy of values as a column of numbers, shape (n,).

    Raises
    ------
    InputError
        They are no numbers, none, not in one row, not finite, or not whole where whole ones are asked for.
    """
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{owner}: {name} must be numbers, got {values!r:.60}.") from None
    if column.ndim != 1 or column.size == 0:
        raise InputError(f"{owner}: {name} must be a row of at least one number, got shape {column.shape}.")
    wrong = ~np.isfinite(column)
    if issubclass(dtype, np.integer):
        wrong |= column != np.rint(column)
    if wrong.any():
        rule = "whole" if issubclass(dtype, np.integer) else "finite"
        row = int(np.argmax(wrong))
        raise InputError(f"{owner}: {name} must be {rule} numbers, got {column[row]:g} at position {row}.")
    made: npt.NDArray[Any] = column.astype(dtype)
    made.flags.writeable = False
    return made


def streams(seed: int, count: int) -> list[np.random.Generator]:
    """So many independent random streams of one seed, so that one draw more of one leaves the others alone.

    Raises
    ------
    InputError
        The seed is not a whole number of at least 0.
    """
    check_whole("seed", "it", seed, least=0, most=2**63 - 1)
    return [np.random.default_rng(child) for child in np.random.SeedSequence(int(seed)).spawn(count)]
