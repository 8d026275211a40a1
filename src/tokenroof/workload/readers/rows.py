"""From columns of a file to requests: lengths, times, order; every refusal names the line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenroof.workload.core import NOBODY, FloatArray, IntArray
from tokenroof.workload.readers.core import Dropped, Rules
from tokenroof.workload.readers.source import Source
from tokenroof.workload.readers.take import first_of_chain

_MOST_TOKENS = 2.0**30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Requests as the file has them, all of shape (num_rows,).

    Attributes
    ----------
    line : IntArray
        Line of the file, from 1.
    time_s : FloatArray
        Sending time, or delay for rows that follow another; 0 in files without times. [s]
    isl, osl : FloatArray
        Prompt and answer, unchecked. [tokens]
    names : tuple of str
        What the file calls time, prompt and answer.
    follows : IntArray or None
        Row each follows; None when none does.
    ordered : bool
        Whether times have to ascend; not so in a closed loop, where they are delays.
    drop : dict of str to array of bool
        Rows that are left out, by reason; the reader's own rules.
    """

    line: IntArray
    time_s: FloatArray
    isl: FloatArray
    osl: FloatArray
    names: tuple[str, str, str]
    follows: IntArray | None = None
    ordered: bool = True
    drop: dict[str, np.typing.NDArray[np.bool_]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """Requests that can be served, in order.

    Attributes
    ----------
    rows : IntArray
        Row of the file of each request.
    arrival_s : FloatArray
        Time or delay. [s]
    isl_tokens, osl_tokens, follows : IntArray
        As in ``Requests``.
    dropped : tuple of Dropped
        What was left out.
    """

    rows: IntArray
    arrival_s: FloatArray
    isl_tokens: IntArray
    osl_tokens: IntArray
    follows: IntArray
    dropped: tuple[Dropped, ...]


def settle(source: Source, rows: Rows, rules: Rules) -> Settled:
    """Check the rows of a file and put them in order.

    Raises
    ------
    InputError
        A length that is no whole number from 1 to 2**30, a time that is negative or not finite, rows out
        of order (unless ``rules.sort``), or nothing left; in one line with the line of the file.
    """
    follows = np.full(rows.line.size, NOBODY, dtype=np.int64) if rows.follows is None else rows.follows
    keep = np.ones(rows.line.size, dtype=bool)
    dropped: list[Dropped] = []
    for why, left_out in (rows.drop or {}).items():
        keep = _without(keep, left_out, why, dropped)
    _check_lengths(source, rows, keep)
    empty = (rows.isl == 0.0) | (rows.osl == 0.0)
    if rules.skip_empty:
        conversation = first_of_chain(follows)
        touched = np.zeros(rows.line.size, dtype=bool)
        touched[conversation[empty & keep]] = True
        keep = _without(keep, touched[conversation], "prompt or answer of 0 tokens", dropped)
    elif (empty & keep).any():
        row = int(np.argmax(empty & keep))
        column = 1 if rows.isl[row] == 0.0 else 2
        raise source.wrong(
            f"{rows.names[column]} is 0, as in {int((empty & keep).sum()):,} rows in all. "
            "Read with skip_empty=True to leave such rows out.",
            line=int(rows.line[row]),
        )
    kept = np.flatnonzero(keep)
    if kept.size == 0:
        reasons = "; ".join(f"{d.count:,}: {d.why}" for d in dropped)
        raise source.wrong(f"no request is left ({reasons})." if dropped else "the file has no requests.")
    _check_times(source, rows, keep, rules)
    if rows.ordered:
        kept = _in_order(source, rows, kept, follows, rules)
    place = np.full(rows.line.size, NOBODY, dtype=np.int64)
    place[kept] = np.arange(kept.size)
    linked = follows[kept]
    return Settled(
        rows=kept,
        arrival_s=rows.time_s[kept],
        isl_tokens=rows.isl[kept].astype(np.int64),
        osl_tokens=rows.osl[kept].astype(np.int64),
        follows=np.where(linked == NOBODY, NOBODY, place[linked]),
        dropped=tuple(dropped),
    )


def _without(
    keep: np.typing.NDArray[np.bool_], gone: np.typing.NDArray[np.bool_], why: str, dropped: list[Dropped]
) -> np.typing.NDArray[np.bool_]:
    count = int((keep & gone).sum())
    if count:
        dropped.append(Dropped(count=count, why=why))
    return keep & ~gone


def _check_lengths(source: Source, rows: Rows, keep: np.typing.NDArray[np.bool_]) -> None:
    for column, name in ((rows.isl, rows.names[1]), (rows.osl, rows.names[2])):
        whole = np.isfinite(column) & (column == np.floor(column))
        wrong = keep & ~(whole & (column >= 0.0) & (column <= _MOST_TOKENS))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise source.wrong(
                f"{name} must be a whole number of tokens from 1 to 2**30, got {column[row]:g}.",
                line=int(rows.line[row]),
            )


def _check_times(source: Source, rows: Rows, keep: np.typing.NDArray[np.bool_], rules: Rules) -> None:
    wrong = keep & ~(np.isfinite(rows.time_s) & (rows.time_s >= 0.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise source.wrong(
            f"{rows.names[0]} must be a finite time of at least 0, got {rows.time_s[row]:g} s.",
            line=int(rows.line[row]),
        )


def _in_order(source: Source, rows: Rows, kept: IntArray, follows: IntArray, rules: Rules) -> IntArray:
    """Kept rows in the order of their (conversation's) sending time, rows of the same time as they stand."""
    free = kept[follows[kept] == NOBODY]
    back = np.diff(rows.time_s[free]) < 0.0
    if not back.any():
        return kept
    if not rules.sort:
        row = int(np.argmax(back))
        raise source.wrong(
            f"{rows.names[0]} is {rows.time_s[free[row]] - rows.time_s[free[row + 1]]:g} s earlier than on "
            f"line {rows.line[free[row]]} before it. Sort the file by time, or read with sort=True.",
            line=int(rows.line[free[row + 1]]),
        )
    began = rows.time_s[first_of_chain(follows)[kept]]
    return kept[np.argsort(began, kind="stable")]
