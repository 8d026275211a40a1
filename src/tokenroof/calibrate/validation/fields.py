"""Columns of a row as values: numbers with their ranges, yes and no."""

from __future__ import annotations

import math

from tokenroof.calibrate.validation.core import METRICS, Row, UnmappedError

_MOST = 1e12
"""Above any count, length or rate; a number beyond it is a slip."""

_YES, _NO = ("true", "yes", "1"), ("false", "no", "0", "")


def number(row: Row, column: str) -> float | None:
    """A number above 0, or None when the column says nothing.

    Raises
    ------
    UnmappedError
        It is no such number.
    """
    said = row.text(column)
    if not said:
        return None
    try:
        value = float(said)
    except ValueError:
        raise UnmappedError(f"{column} must be a number, got {said[:40]!r}.") from None
    if not (math.isfinite(value) and value > 0.0):
        raise UnmappedError(f"{column} must be above 0, got {said[:40]!r}.")
    if value > _MOST:
        raise UnmappedError(f"{column} must be at most {_MOST:g}, got {said[:40]!r}.")
    return value


def whole(row: Row, column: str, *, most: int = 10**7) -> int | None:
    """A whole number of at least 1, or None when the column says nothing.

    Raises
    ------
    UnmappedError
        It is no such number.
    """
    value = number(row, column)
    if value is None:
        return None
    if not value.is_integer() or value > most:
        raise UnmappedError(
            f"{column} must be a whole number from 1 to {most}, got {row.text(column)[:40]!r}."
        )
    return int(value)


def flag(row: Row, column: str) -> bool:
    """Yes or no; nothing said is no, what stands behind the word in brackets is a remark.

    Raises
    ------
    UnmappedError
        It is neither.
    """
    said = row.text(column).lower()
    word = said.split("(")[0].strip()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise UnmappedError(f"{column} must be true or false, got {said[:40]!r}.")


def measured(row: Row) -> dict[str, float]:
    """The metrics of a row that are fit to be scored.

    Runs with stalls of compilation or tuning (``cold_start``) keep the medians and the estimate of their
    warm throughput; answers in chunks of more than one token change no metric of ours.

    Raises
    ------
    UnmappedError
        A metric is no number above 0.
    """
    found = {name: number(row, name) for name in METRICS}
    if flag(row, "cold_start"):
        found["total_tput_per_gpu"] = number(row, "total_tput_per_gpu_warm_est")
        for name in ("output_tput_per_gpu", "mean_ttft_s", "p99_ttft_s", "mean_tpot_s", "mean_e2e_s"):
            found[name] = None
    if "OVERLOAD" in row.text("notes"):
        found = {name: None if name.endswith("_s") else value for name, value in found.items()}
    return {name: value for name, value in found.items() if value is not None}
