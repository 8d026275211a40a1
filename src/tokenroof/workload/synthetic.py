"""Single requests that are drawn: an open loop that sends by the clock, a closed loop that waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.arrivals import times_within
from tokenroof.workload.core import NOBODY, Arrivals, FloatArray, IntArray, RequestClass, Requests
from tokenroof.workload.delays import Delays, FixedDelay
from tokenroof.workload.identities import BLOCK_TOKENS, SharedPrompt, build_identities, with_nobody
from tokenroof.workload.inputs import MAX_REQUESTS, check_number, check_whole, streams
from tokenroof.workload.lengths import draw_rows
from tokenroof.workload.pairs import LengthPairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One kind of requests in a mix.

    Attributes
    ----------
    lengths : LengthPairs
        Of prompts and answers: ``Independent(isl=..., osl=...)`` or ``Joint(...)``.
    share : float
        Its part of the requests, over the sum of all shares.
    request_class : RequestClass
        Priority and SLO.
    shared : SharedPrompt or None
        What prompts begin with, on top of ``lengths``.
    """

    lengths: LengthPairs
    share: float = 1.0
    request_class: RequestClass = field(default_factory=RequestClass)
    shared: SharedPrompt | None = None

    def __post_init__(self) -> None:
        check_number("Traffic", "share", self.share, above=0.0)

    @property
    def mean_isl_tokens(self) -> float:
        """Expected prompt, what is shared included. [tokens]"""
        return self.lengths.mean_isl_tokens + (0 if self.shared is None else self.shared.tokens)

    @property
    def mean_osl_tokens(self) -> float:
        """Expected answer. [tokens]"""
        return self.lengths.mean_osl_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLoop:
    """Requests that are sent whatever becomes of those before.

    Attributes
    ----------
    arrivals : Arrivals
        When they are sent.
    mix : tuple of Traffic
        What is sent.
    num_requests : int or None
        How many; or
    duration_s : float or None
        all that are sent before this time. One of both is given. [s]
    block_tokens : int
        Tokens of a prefix identity. [tokens]
    own_identities : bool
        Identities for what is not shared as well. Nothing finds it again, but it fills a prefix cache and
        drives shared prompts out of it; without them an engine forgets it at once. Takes memory: one
        number per ``block_tokens``.
    """

    arrivals: Arrivals
    mix: tuple[Traffic, ...]
    num_requests: int | None = None
    duration_s: float | None = None
    block_tokens: int = BLOCK_TOKENS
    own_identities: bool = False

    def __post_init__(self) -> None:
        check_mix("OpenLoop", self.mix)
        check_amount("OpenLoop", "num_requests", self.num_requests, self.duration_s)
        check_whole("OpenLoop", "block_tokens", self.block_tokens, least=1)

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones.

        Raises
        ------
        InputError
            None is sent within ``duration_s``.
        """
        timing, content = streams(seed, 2)
        arrival_s = draw_times(self.arrivals, timing, self.num_requests, self.duration_s)
        return _drawn(
            self.mix,
            content,
            arrival_s,
            block_tokens=self.block_tokens,
            own_identities=self.own_identities,
            label=describe(self.arrivals),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """A benchmark client with ``--max-concurrency``: all requests wait at t = 0 for one of its places.

    The next request is sent as soon as one has ended, in order; near the end fewer are in progress.

    Attributes
    ----------
    concurrency : int
        Places. More than there are requests is possible: then all are sent at once.
    mix : tuple of Traffic
        What is sent.
    num_requests : int
        How many in all (``--num-prompts``).
    think : Delays
        How long a place stays idle between two requests; not before its first one.
    ramp_up_s : float
        The places send their first request one after the other, evenly over this time. [s]
    block_tokens, own_identities : int, bool
        As in ``OpenLoop``.
    """

    concurrency: int
    mix: tuple[Traffic, ...]
    num_requests: int
    think: Delays = field(default_factory=FixedDelay)
    ramp_up_s: float = 0.0
    block_tokens: int = BLOCK_TOKENS
    own_identities: bool = False

    def __post_init__(self) -> None:
        check_mix("ClosedLoop", self.mix)
        check_whole("ClosedLoop", "concurrency", self.concurrency, least=1)
        check_whole("ClosedLoop", "num_requests", self.num_requests, least=1, most=MAX_REQUESTS)
        check_number("ClosedLoop", "ramp_up_s", self.ramp_up_s)
        check_whole("ClosedLoop", "block_tokens", self.block_tokens, least=1)

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones."""
        timing, content = streams(seed, 2)
        return _drawn(
            self.mix,
            content,
            closed_delays(self.think, timing, self.num_requests, self.concurrency, self.ramp_up_s),
            block_tokens=self.block_tokens,
            own_identities=self.own_identities,
            label=f"closed loop of {self.concurrency}",
            concurrency=self.concurrency,
        )


def draw_times(
    arrivals: Arrivals, rng: np.random.Generator, count: int | None, duration_s: float | None
) -> FloatArray:
    """A number of sending times, or all within a time, whichever is given. [s]

    Raises
    ------
    InputError
        None lies within it.
    """
    if duration_s is None:
        assert count is not None
        return arrivals.times(rng, count)
    times = times_within(arrivals, rng, duration_s)
    if times.size == 0:
        raise InputError(
            f"nothing is sent within duration_s {duration_s:g} at {arrivals.rate_per_s:g}/s. "
            "Give a longer duration, a higher rate, or a number of requests."
        )
    return times


def closed_delays(
    think: Delays, rng: np.random.Generator, count: int, concurrency: int, ramp_up_s: float
) -> FloatArray:
    """Delay of each request after its place is free: the ramp for the first ones, then thinking. [s]"""
    delays_s = think.sample(rng, count)
    first = min(concurrency, count)
    delays_s[:first] = np.arange(first) * (ramp_up_s / concurrency)
    return delays_s


def draw_kinds(shares: Sequence[float], rng: np.random.Generator, count: int) -> IntArray:
    """Index into a mix by share, shape (count,)."""
    if len(shares) == 1:
        return np.zeros(count, dtype=np.int64)
    return draw_rows(rng, count, len(shares), np.array(shares, dtype=np.float64))


def draw_groups(
    prompts: Sequence[SharedPrompt | None], kind: IntArray, rngs: Sequence[np.random.Generator]
) -> tuple[IntArray, IntArray]:
    """Group of each request by the shared prompt of its kind, and tokens of each group's prompt.

    Returns
    -------
    tuple of IntArray
        Group or ``NOBODY``, of the shape of ``kind``; tokens, shape (num_groups,). Kinds with an equal
        prompt have the same groups.
    """
    group = np.full(kind.size, NOBODY, dtype=np.int64)
    begins: dict[SharedPrompt, int] = {}
    tokens = np.zeros(0, dtype=np.int64)
    for index, (prompt, rng) in enumerate(zip(prompts, rngs, strict=True)):
        if prompt is None:
            continue
        if prompt not in begins:
            begins[prompt] = tokens.size
            tokens = np.append(tokens, np.full(prompt.groups, prompt.tokens))
        rows = np.flatnonzero(kind == index)
        weights = prompt.group_weights if prompt.zipf_exponent > 0.0 else None
        group[rows] = begins[prompt] + draw_rows(rng, rows.size, prompt.groups, weights)
    return group, tokens


def class_columns(
    classes: Sequence[RequestClass], kind: IntArray
) -> tuple[tuple[RequestClass, ...], IntArray]:
    """Different classes of a mix, and the one of each request."""
    different = tuple(dict.fromkeys(classes))
    return different, np.array([different.index(one) for one in classes], dtype=np.int64)[kind]


def describe(arrivals: Arrivals) -> str:
    """A process in a few words, for the label of a workload."""
    if np.isinf(arrivals.rate_per_s):
        return "all at once"
    return f"{type(arrivals).__name__} arrivals at {arrivals.rate_per_s:.4g}/s"


def check_mix(owner: str, mix: Sequence[object]) -> None:
    """Refuse a mix of nothing.

    Raises
    ------
    InputError
        With the owner.
    """
    if len(mix) == 0:
        raise InputError(f"{owner}: mix has nothing in it. Give at least one kind of traffic.")


def check_amount(owner: str, name: str, count: int | None, duration_s: float | None) -> None:
    """Refuse an amount that is given in neither or both ways, or is nothing.

    Raises
    ------
    InputError
        With owner, name and what was given.
    """
    if (count is None) == (duration_s is None):
        raise InputError(
            f"{owner}: give one of {name} and duration_s, got {name} {count} and duration_s {duration_s}."
        )
    if count is not None:
        check_whole(owner, name, count, least=1, most=MAX_REQUESTS)
    else:
        check_number(owner, "duration_s", duration_s, above=0.0)


def _drawn(
    mix: tuple[Traffic, ...],
    rng: np.random.Generator,
    arrival_s: FloatArray,
    *,
    block_tokens: int,
    own_identities: bool,
    label: str,
    concurrency: int | None = None,
) -> Requests:
    count = arrival_s.size
    picking, *own = rng.spawn(1 + 2 * len(mix))
    kind = draw_kinds([traffic.share for traffic in mix], picking, count)
    isl_tokens, osl_tokens = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for index, traffic in enumerate(mix):
        rows = np.flatnonzero(kind == index) if len(mix) > 1 else slice(None)
        wanted = count if isinstance(rows, slice) else rows.size
        isl_tokens[rows], osl_tokens[rows] = traffic.lengths.sample(own[index], wanted)
    group, group_tokens = draw_groups([traffic.shared for traffic in mix], kind, own[len(mix) :])
    isl_tokens += with_nobody(group_tokens)[group]
    group_blocks = group_tokens // block_tokens
    if own_identities:
        # the cache of an answer's last token is never computed
        blocks = (isl_tokens + osl_tokens - 1) // block_tokens
    else:
        blocks = with_nobody(group_blocks)[group]
    classes, class_index = class_columns([traffic.request_class for traffic in mix], kind)
    nobody = np.full(count, NOBODY, dtype=np.int64)
    return Requests(
        arrival_s=arrival_s,
        isl_tokens=isl_tokens,
        osl_tokens=osl_tokens,
        follows=nobody,
        session=nobody,
        class_index=class_index,
        classes=classes,
        prefixes=build_identities(
            block_tokens=block_tokens,
            group=group,
            group_blocks=group_blocks,
            chain=np.arange(count),
            blocks=blocks,
        ),
        concurrency=concurrency,
        label=label,
        source="synthetic",
    )
