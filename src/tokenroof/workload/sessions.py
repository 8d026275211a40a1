"""Conversations and agents: every turn sends the whole history again, with something new at its end."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, Arrivals, FloatArray, IntArray, Lengths, RequestClass, Requests
from tokenroof.workload.delays import Delays, FixedDelay
from tokenroof.workload.identities import BLOCK_TOKENS, SharedPrompt, build_identities, with_nobody
from tokenroof.workload.inputs import MAX_REQUESTS, check_number, check_whole, streams
from tokenroof.workload.synthetic import (
    check_amount,
    check_mix,
    class_columns,
    closed_delays,
    describe,
    draw_groups,
    draw_kinds,
    draw_times,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One kind of sessions: a chat, or an agent that calls tools.

    The prompt of a turn is the prompt of the turn before, its answer, and new tokens.

    Attributes
    ----------
    turns : Lengths
        Requests of a session; its "tokens" are turns.
    new_tokens : Lengths
        What each turn adds to the history: a message, a tool's result.
    osl : Lengths
        Answer of each turn.
    think : Delays
        From the end of an answer to the next turn: a user's thinking, a tool's work.
    first_tokens : Lengths or None
        In place of ``new_tokens`` in the first turn (a document, a task); None: the same.
    shared : SharedPrompt or None
        System prompt and tool descriptions in front of the first turn; one group for a session.
    max_context_tokens : int or None
        A session ends before the turn whose prompt and answer would be longer; one whose first turn is
        longer is not sent at all. None: no limit. [tokens]
    share : float
        Its part of the sessions, over the sum of all shares.
    request_class : RequestClass
        Priority and SLO of every turn.
    """

    turns: Lengths
    new_tokens: Lengths
    osl: Lengths
    think: Delays = field(default_factory=FixedDelay)
    first_tokens: Lengths | None = None
    shared: SharedPrompt | None = None
    max_context_tokens: int | None = None
    share: float = 1.0
    request_class: RequestClass = field(default_factory=RequestClass)

    def __post_init__(self) -> None:
        check_number("Conversation", "share", self.share, above=0.0)
        if self.max_context_tokens is not None:
            check_whole("Conversation", "max_context_tokens", self.max_context_tokens, least=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSessions:
    """Sessions that begin by the clock; their later turns follow when they are ready.

    Attributes
    ----------
    arrivals : Arrivals
        When sessions begin; its rate counts sessions.
    mix : tuple of Conversation
        What they are.
    num_sessions : int or None
        How many; or
    duration_s : float or None
        all that begin before this time. One of both is given. [s]
    block_tokens : int
        Tokens of a prefix identity: only whole ones of the history are found in a cache. [tokens]
    """

    arrivals: Arrivals
    mix: tuple[Conversation, ...]
    num_sessions: int | None = None
    duration_s: float | None = None
    block_tokens: int = BLOCK_TOKENS

    def __post_init__(self) -> None:
        check_mix("OpenSessions", self.mix)
        check_amount("OpenSessions", "num_sessions", self.num_sessions, self.duration_s)
        check_whole("OpenSessions", "block_tokens", self.block_tokens, least=1)

    def requests(self, seed: int) -> Requests:
        """The turns, those of a session together; the same seed gives the same ones.

        Raises
        ------
        InputError
            No session begins within ``duration_s``, none fits its context, or they are too many.
        """
        timing, content = streams(seed, 2)
        begin_s = draw_times(self.arrivals, timing, self.num_sessions, self.duration_s)
        return _drawn(
            self.mix,
            content,
            begin_s,
            block_tokens=self.block_tokens,
            label=f"sessions, {describe(self.arrivals)}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedSessions:
    """A number of users, or agents, each of whom begins another session when one has ended.

    Attributes
    ----------
    concurrency : int
        Sessions in progress, thinking included.
    mix : tuple of Conversation
        What they are.
    num_sessions : int
        How many in all.
    pause : Delays
        Between two sessions of a place; not before its first one.
    ramp_up_s : float
        The first sessions begin one after the other, evenly over this time. [s]
    block_tokens : int
        As in ``OpenSessions``.
    """

    concurrency: int
    mix: tuple[Conversation, ...]
    num_sessions: int
    pause: Delays = field(default_factory=FixedDelay)
    ramp_up_s: float = 0.0
    block_tokens: int = BLOCK_TOKENS

    def __post_init__(self) -> None:
        check_mix("ClosedSessions", self.mix)
        check_whole("ClosedSessions", "concurrency", self.concurrency, least=1)
        check_whole("ClosedSessions", "num_sessions", self.num_sessions, least=1, most=MAX_REQUESTS)
        check_number("ClosedSessions", "ramp_up_s", self.ramp_up_s)
        check_whole("ClosedSessions", "block_tokens", self.block_tokens, least=1)

    def requests(self, seed: int) -> Requests:
        """The turns, those of a session together; the same seed gives the same ones.

        Raises
        ------
        InputError
            No session fits its context, or they are too many.
        """
        timing, content = streams(seed, 2)
        return _drawn(
            self.mix,
            content,
            closed_delays(self.pause, timing, self.num_sessions, self.concurrency, self.ramp_up_s),
            block_tokens=self.block_tokens,
            label=f"closed loop of {self.concurrency} sessions",
            concurrency=self.concurrency,
        )


def _drawn(
    mix: tuple[Conversation, ...],
    rng: np.random.Generator,
    begin_s: FloatArray,
    *,
    block_tokens: int,
    label: str,
    concurrency: int | None = None,
) -> Requests:
    picking, *own = rng.spawn(1 + 2 * len(mix))
    kind = draw_kinds([one.share for one in mix], picking, begin_s.size)
    group, group_tokens = draw_groups([one.shared for one in mix], kind, own[len(mix) :])
    session, first, new, osl_tokens, arrival_s = _drawn_turns(mix, kind, own[: len(mix)])
    new[first] += with_nobody(group_tokens)[group]
    arrival_s[first] = begin_s

    grown = np.cumsum(new + osl_tokens)
    before = grown[first] - new[first] - osl_tokens[first]
    context_tokens = grown - before[session]
    limits = np.array([one.max_context_tokens or np.iinfo(np.int64).max for one in mix])
    kept = np.flatnonzero(context_tokens <= limits[kind[session]])
    if kept.size == 0:
        raise InputError(
            f"the first turn of every session is longer than max_context_tokens {limits[kind].max()}, the "
            f"shortest has {context_tokens[first].min()} tokens. Raise it, or shorten the turns."
        )
    session, osl_tokens, context_tokens = session[kept], osl_tokens[kept], context_tokens[kept]
    starts = np.diff(session, prepend=NOBODY) != 0
    classes, class_index = class_columns([one.request_class for one in mix], kind[session])
    rows = np.arange(kept.size)
    numbered = np.cumsum(starts) - 1
    return Requests(
        arrival_s=arrival_s[kept],
        isl_tokens=context_tokens - osl_tokens,
        osl_tokens=osl_tokens,
        follows=np.where(starts, NOBODY, rows - 1),
        session=numbered,
        class_index=class_index,
        classes=classes,
        prefixes=build_identities(
            block_tokens=block_tokens,
            group=group[session],
            group_blocks=group_tokens // block_tokens,
            chain=numbered,
            # the cache of an answer's last token is computed with the next turn
            blocks=(context_tokens - 1) // block_tokens,
        ),
        concurrency=concurrency,
        label=label,
        source="synthetic",
    )


def _drawn_turns(
    mix: tuple[Conversation, ...], kind: IntArray, rngs: list[np.random.Generator]
) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
    """Session of each turn, first turn of each session, and new tokens, answers and delays of all turns."""
    drawing = [rng.spawn(5) for rng in rngs]
    turns = np.empty(kind.size, dtype=np.int64)
    for index, one in enumerate(mix):
        rows = np.flatnonzero(kind == index)
        turns[rows] = one.turns.sample(drawing[index][0], rows.size)
    count = int(turns.sum())
    if count > MAX_REQUESTS:
        raise InputError(
            f"{kind.size} sessions have {count} turns; at most {MAX_REQUESTS:,} requests are possible. "
            "Give fewer sessions, or fewer turns."
        )
    session = np.repeat(np.arange(kind.size), turns)
    first = np.cumsum(turns) - turns
    new, osl_tokens = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    delays_s = np.empty(count)
    for index, one in enumerate(mix):
        _, opening, adding, answering, thinking = drawing[index]
        rows = np.flatnonzero(kind[session] == index)
        new[rows] = one.new_tokens.sample(adding, rows.size)
        osl_tokens[rows] = one.osl.sample(answering, rows.size)
        delays_s[rows] = one.think.sample(thinking, rows.size)
        if one.first_tokens is not None:
            openings = first[kind == index]
            new[openings] = one.first_tokens.sample(opening, openings.size)
    return session, first, new, osl_tokens, delays_s
