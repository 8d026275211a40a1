"""The closed-form screen: every candidate with the replicas that it needs at least, as arrays.

A row of the screen is optimistic: it takes the mean of a latency for the least that a higher percentile can
be, no queue, and ``options.MARGIN`` on top. So what it turns away is out, and what is behind the best of
the simulated ones even so need not be simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tokenroof.deploy.core import Infeasible, Role
from tokenroof.search.accounting import spent
from tokenroof.search.options import Options
from tokenroof.search.pick import Row, Setting, Side, best_rows, family_of
from tokenroof.search.space import Subject
from tokenroof.search.tally import Tally

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def screen(
    setting: Setting, subjects: Sequence[Subject], options: dict[Role, Options], tally: Tally
) -> tuple[list[Row], int]:
    """The best candidates of every family, and how many there are; all others are counted by reason.

    Parameters
    ----------
    setting : Setting
        What counts.
    subjects : sequence of Subject
        What the options point to.
    options : dict of Role to Options
        Rows of every role.
    tally : Tally
        Where rejected ones go.
    """
    sides = {
        role: {
            key: _side(setting, subjects, role, found, rows) for key, rows in _groups(subjects, found).items()
        }
        for role, found in options.items()
    }
    rows: list[Row] = []
    candidates = 0
    if setting.question.space.colocated:
        for key, (side, unfit) in sides[Role.BOTH].items():
            candidates += side.rows.size + unfit.size
            _count_unfit(setting, tally, family_of((key[0],)), options[Role.BOTH], unfit, 1)
            rows += best_rows(setting, subjects, (side,), tally)
    if setting.question.space.disaggregated:
        for (first, second), pair in _pairs(setting, sides):
            (prefill, slow), (decode, tight) = pair
            family = family_of((first, second))
            candidates += (prefill.rows.size + slow.size) * (decode.rows.size + tight.size)
            _count_unfit(setting, tally, family, options[Role.PREFILL], slow, decode.rows.size + tight.size)
            _count_unfit(setting, tally, family, options[Role.DECODE], tight, prefill.rows.size)
            rows += best_rows(setting, subjects, (prefill, decode), tally)
    return rows, candidates


_Key = tuple[str, object, str, object]


def _groups(subjects: Sequence[Subject], options: Options) -> dict[_Key, IntArray]:
    """Rows by chip, formats, engine and drafts."""
    kinds: dict[_Key, int] = {}
    of_subject = np.array(
        [
            kinds.setdefault((each.chip.name, each.precision, each.engine.name, each.drafting), len(kinds))
            for each in subjects
        ],
        dtype=np.int64,
    )
    of_row = of_subject[options.subject] if options.subject.size else options.subject
    found = {key: np.flatnonzero(of_row == number) for key, number in kinds.items()}
    return {key: rows for key, rows in found.items() if rows.size}


def _pairs(
    setting: Setting, sides: dict[Role, dict[_Key, tuple[Side, IntArray]]]
) -> Iterator[tuple[tuple[str, str], tuple[tuple[Side, IntArray], tuple[Side, IntArray]]]]:
    """Prefill and decode of the same formats and engine."""
    for (first, precision, engine, _), prefill in sides[Role.PREFILL].items():
        for (second, same, also, _), decode in sides[Role.DECODE].items():
            if (precision, engine) != (same, also):
                continue
            if first == second or may_mix(setting, first, second):
                yield (first, second), (prefill, decode)


def may_mix(setting: Setting, first: str, second: str) -> bool:
    """Whether prefill may be on one chip and decode on the other."""
    space, vendors = setting.question.space, {each.name: each.vendor for each in setting.question.chips}
    return space.mixed_chips and (space.mixed_vendors or vendors[first] == vendors[second])


def _side(
    setting: Setting, subjects: Sequence[Subject], role: Role, options: Options, rows: IntArray
) -> tuple[Side, IntArray]:
    """Rows that pass, and those that do not."""
    fits = options.fits[rows]
    good, unfit = rows[fits], rows[~fits]
    question, load = setting.question, setting.load
    chip = subjects[int(options.subject[rows[0]])].chip.name
    rate = load.requests_per_s * (1.0 + question.headroom_fraction)
    exact = rate / options.requests_per_s[good]
    replicas = np.maximum(np.ceil(exact - 1e-9), 1.0)
    chips = options.chips[good] * (replicas + question.spare_replicas)
    dynamic_w = load.requests_per_s * options.dynamic_j[good]
    side = Side(
        role=role,
        chip=chip,
        rows=good,
        options=options,
        replicas=replicas,
        spent=spent(setting.costs[chip], chips, dynamic_w, load, question.limits),
        exact=exact * options.chips[good],
    )
    return side, unfit


def _count_unfit(
    setting: Setting, tally: Tally, family: str, options: Options, rows: IntArray, times: int
) -> None:
    """Rows that pass nothing, each in so many combinations."""
    for reason in np.unique(options.reason[rows]).tolist():
        mine = rows[options.reason[rows] == reason]
        over = options.need[mine] / np.maximum(options.have[mine], 1e-12)
        near = mine[int(np.argmin(over))]
        need, have = float(options.need[near]), float(options.have[near])
        if reason == "memory":
            text = f"memory: weights and the cache of one request do not fit a replica of {family}."
            problem = Infeasible(reason=text)
        else:
            text = (
                f"{reason}: {need:.4g} s at best, {have:.4g} s asked. Ask for {need:.3g} s, or faster chips."
            )
            problem = Infeasible(reason=text, need=need, have=have, unit="s")
        stage = "memory" if reason == "memory" else "screen"
        tally.add(stage, family, reason, mine.size * times, problem, nearness=float(over.min()))
