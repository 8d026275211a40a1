"""What a row's client sends: finite closed loops, stages of an open loop, everything at once."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass, field

import numpy as np

from tokenroof.calibrate.validation.core import Row, UnmappedError
from tokenroof.calibrate.validation.fields import number, whole
from tokenroof.workload.core import NOBODY, FloatArray, IntArray, Prefixes, Requests

BLOCK_TOKENS = 16
MOST_REQUESTS = 30000
"""Requests of one row that are simulated at most."""

_OFFLINE_WAVES = 4
"""A queue of unknown length is simulated as so many times the batch that fits."""

_STAGE_S = 600.0
"""An open loop of which neither length nor number is said lasts so long. [s]"""

_HIGHEST_WAVES, MOST_PROBED = 4, 10000
"""A search for the highest rate sends so many times the batch that fits, and at most so many requests."""

_CLOSED = re.compile(r"closed:\s*conc\s*=\s*(\d+)\b", re.I)
_OPEN = re.compile(r"open:\s*(?:rps|rate)\s*=\s*([\d./]+)", re.I)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*s\b")
_UNIFORM = re.compile(r"uniform[^\[]*\[\s*([\d.]+)\s*\*\s*l\s*,\s*(?:([\d.]+)\s*\*\s*)?l\s*\]", re.I)
_SHARED = re.compile(r"(\d+) system prompts x (\d+) users", re.I)
_LONGEST = re.compile(r"max out (\d+)(k?)\b")
_SYSTEM = re.compile(r"system (\d+)", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How a client sends.

    Attributes
    ----------
    concurrency : int or None
        Of a closed loop.
    rates_per_s, stage_s : tuple of float, float or None
        Of an open loop: Poisson at each rate in turn, for so long each; None: until all are sent. [1/s], [s]
    offline : bool
        Everything is there at the start.
    highest : bool
        Poisson at the highest rate that meets the limits of the row.
    """

    concurrency: int | None = None
    rates_per_s: tuple[float, ...] = ()
    stage_s: float | None = None
    offline: bool = False
    highest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What is sent, and what was assumed. A warm-up that a client does beforehand is over when it begins."""

    requests: Requests = field(repr=False)
    notes: tuple[str, ...]


def load_of(row: Row) -> Load:
    """The load that a row says.

    Raises
    ------
    UnmappedError
        It says none that is known.
    """
    said = row.text("load")
    low = said.lower()
    if found := _CLOSED.search(low):
        if int(found[1]) < 1:
            raise UnmappedError(f"load {said[:60]!r}: concurrency must be at least 1.")
        return Load(concurrency=int(found[1]))
    if found := _OPEN.search(low):
        try:
            rates = tuple(float(text) for text in found[1].split("/"))
        except ValueError:
            raise UnmappedError(f"load {said[:60]!r}: rates must be numbers.") from None
        if not rates or min(rates) <= 0.0:
            raise UnmappedError(f"load {said[:60]!r}: rates must be above 0.")
        seconds = _SECONDS.search(low.split("stage")[0]) or _SECONDS.search(low)
        if seconds is None and len(rates) > 1:
            raise UnmappedError(f"load {said[:60]!r}: how long each rate lasts is not said.")
        return Load(rates_per_s=rates, stage_s=float(seconds[1]) if seconds else None)
    if low.startswith(("offline", "max")):
        return Load(offline=True)
    if low.startswith("open:poisson at max"):
        return Load(highest=True)
    if "production" in low:
        raise UnmappedError(
            f"load {said[:60]!r}: an average over real traffic whose lengths and rate are not said."
        )
    known = "closed:conc=N, open:rps=R (stages R1/R2), offline:max"
    raise UnmappedError(f"load {said[:60]!r} is not known. Known: {known}.")


def lengths_of(row: Row) -> tuple[float, float]:
    """Mean prompt and answer of a row. [tokens]

    Raises
    ------
    UnmappedError
        It says none.
    """
    found = []
    for name in ("isl", "osl"):
        value, nominal = number(row, f"{name}_mean"), number(row, name)
        if value is None and nominal is None:
            raise UnmappedError(f"neither {name} nor {name}_mean is said, so what was served is not known.")
        if value is None and nominal is not None:
            drawn = _UNIFORM.search(row.text("length_distribution"))
            low, high = (float(drawn[1]), float(drawn[2] or 1.0)) if drawn else (1.0, 1.0)
            value = nominal * (low + high) / 2.0
        assert value is not None
        found.append(value)
    return found[0], found[1]


def send(row: Row, load: Load, *, fits: int, context_tokens: int, beams: int = 1) -> Sent:
    """The requests of a row, drawn with a seed of its own.

    Parameters
    ----------
    row : Row
        Lengths, their distribution, how many.
    load : Load
        As :func:`load_of`.
    fits : int
        Sequences of mean length that the deployment holds at once: how long a queue of unknown length is.
    context_tokens : int
        Longest prompt and answer together that the model takes: lengths that are drawn stay below.
    beams : int
        Answers to each prompt that are searched beside each other, of which one is kept. They are sent as
        one answer that is as long as all of them: it reads and holds about as much cache.

    Raises
    ------
    UnmappedError
        Lengths are not said, or no request is.
    """
    isl, osl = lengths_of(row)
    # What is drawn belongs to the client's way, not to the hardware: rows that differ in hardware alone are
    # sent the same requests.
    said = "|".join(row.text(name) for name in ("isl", "osl", "length_distribution", "load"))
    rng = np.random.default_rng(zlib.crc32(said.encode()))
    notes: list[str] = []
    if load.rates_per_s:
        arrival_s = _stages(rng, load, _requests(row))
        count = arrival_s.size
    else:
        given = _requests(row)
        count = given or _count(load, fits)
        if given is None:
            notes.append(f"{count} requests")
        if count > MOST_REQUESTS:
            notes.append(f"{MOST_REQUESTS} of {count} requests")
            count = MOST_REQUESTS
        arrival_s = np.zeros(count)
    if load.highest:
        arrival_s = np.cumsum(rng.exponential(1.0, count))
    isl_tokens, osl_tokens, note = _lengths(rng, row, count, (isl, osl * beams), context_tokens, beams)
    notes += note
    requests = Requests(
        arrival_s=arrival_s,
        isl_tokens=isl_tokens,
        osl_tokens=osl_tokens,
        follows=np.full(count, NOBODY, dtype=np.int64),
        session=np.full(count, NOBODY, dtype=np.int64),
        class_index=np.zeros(count, dtype=np.int64),
        prefixes=_prefixes(row, isl_tokens),
        concurrency=load.concurrency,
        label=row.id,
        source=row.text("source_url"),
    )
    return Sent(requests=requests, notes=tuple(notes))


def _count(load: Load, fits: int) -> int:
    if load.concurrency is not None:
        return 10 * load.concurrency
    if load.highest:
        return min(max(_HIGHEST_WAVES * fits, 1500), MOST_PROBED)
    return max(_OFFLINE_WAVES * fits, 64)


def _requests(row: Row) -> int | None:
    """How many a row says; some say it in words."""
    return whole(row, "n_requests") if row.text("n_requests").isdigit() else None


def _stages(rng: np.random.Generator, load: Load, given: int | None) -> FloatArray:
    """When requests are sent: for the time of each stage, or until as many are as the row says."""
    if load.stage_s is None:
        count = min(given or round(_STAGE_S * sum(load.rates_per_s)), MOST_REQUESTS)
        return np.cumsum(rng.exponential(1.0 / load.rates_per_s[0], count))
    parts = []
    for index, rate in enumerate(load.rates_per_s):
        # What comes after the most that is simulated is not drawn; a slip may ask for billions.
        window_s = min(load.stage_s, 2.0 * MOST_REQUESTS / rate)
        count = int(rng.poisson(rate * window_s))
        parts.append(index * load.stage_s + np.sort(rng.uniform(0.0, window_s, max(count, 1))))
    return np.concatenate(parts)[:MOST_REQUESTS]


def _lengths(
    rng: np.random.Generator,
    row: Row,
    count: int,
    means: tuple[float, float],
    context_tokens: int,
    beams: int,
) -> tuple[IntArray, IntArray, tuple[str, ...]]:
    (isl, osl), said = means, row.text("length_distribution").lower()
    if found := _UNIFORM.search(said):
        low, high = float(found[1]), float(found[2] or 1.0)
        return _uniform(rng, count, isl, low, high), _uniform(rng, count, osl, low, high), ()
    fixed = "fixed" in said or _SHARED.search(said) is not None
    if fixed or not said:
        note = () if fixed else ("every request has the mean lengths",)
        return _same(count, isl), _same(count, osl), note
    # Data sets of which only the means are known: lengths of chat data are close to lognormal.
    spread = "lengths drawn lognormal around the means"
    answers = _lognormal(rng, count, osl, _longest_answer(said, beams) or 16.0 * osl)
    room = float(context_tokens - int(answers.max()))
    if room < isl:
        raise UnmappedError(
            f"prompts of {isl:g} tokens and answers of up to {answers.max()} are longer than the context."
        )
    return _lognormal(rng, count, isl, min(16.0 * isl, room)), answers, (spread,)


def _longest_answer(said: str, beams: int) -> float | None:
    """Where a data set's answers are cut, as its row says ("max out 20k"). [tokens]"""
    found = _LONGEST.search(said)
    return beams * float(found[1]) * (1000.0 if found[2] else 1.0) if found else None


def _same(count: int, mean: float) -> IntArray:
    return np.full(count, max(1, round(mean)), dtype=np.int64)


def _uniform(rng: np.random.Generator, count: int, mean: float, low: float, high: float) -> IntArray:
    """Whole numbers whose mean is the one that was seen, in even layers: few requests have its spread too."""
    top = mean / ((low + high) / 2.0)
    layers = (rng.permutation(count) + rng.uniform(size=count)) / count
    drawn: FloatArray = top * (low + (high - low) * layers)
    return np.maximum(1, np.rint(drawn)).astype(np.int64)


_SIGMA = 0.8
"""Of the logarithm of lengths; chat data sets lie at 0.7 to 1.2 (Azure 2023 and ShareGPT, workload/data)."""


_ROUNDS = 20
"""After so many the mean of lengths that are cut is theirs within a thousandth."""


def _lognormal(rng: np.random.Generator, count: int, mean: float, longest: float) -> IntArray:
    """Lengths with this mean after they are cut at the longest."""
    drawn = rng.lognormal(-(_SIGMA**2) / 2.0, _SIGMA, count) * mean
    for _ in range(_ROUNDS):
        cut = np.minimum(drawn, longest)
        drawn *= mean / cut.mean()
    return np.clip(np.rint(drawn), 1, math.floor(longest)).astype(np.int64)


def _prefixes(row: Row, isl_tokens: IntArray) -> Prefixes | None:
    """Prompts that come again: a few system prompts, each with a few questions."""
    found = _SHARED.search(row.text("length_distribution"))
    if found is None:
        return None
    systems, users = int(found[1]), int(found[2])
    system = _SYSTEM.search(row.text("length_distribution"), found.end())
    shared = int(system[1]) // BLOCK_TOKENS if system else 0
    blocks = isl_tokens // BLOCK_TOKENS
    start = np.concatenate(([0], np.cumsum(blocks))).astype(np.int64)
    within = np.arange(start[-1]) - np.repeat(start[:-1], blocks)
    prompt = np.repeat(np.arange(isl_tokens.size) % (systems * users), blocks)
    block = np.where(within < shared, prompt % systems, systems + prompt) * (int(blocks.max()) + 1) + within
    _, ids = np.unique(block, return_inverse=True)
    return Prefixes(block_tokens=BLOCK_TOKENS, start=start, ids=ids.astype(np.int64))
