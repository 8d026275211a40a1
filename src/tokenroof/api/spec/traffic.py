"""The traffic section of a spec: what is sent, and when."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import PlainValidator, field_validator, model_validator

from tokenroof.api.spec.draws import DelaysLike, LengthsLike
from tokenroof.api.spec.kinds import Count, Delay, Positive, Rates, Seconds
from tokenroof.api.spec.sections import Section

DEFAULT_REQUESTS = 1000
"""Requests when neither a number nor a duration is given, as benchmark clients do."""


def _burstiness(given: object) -> float:
    if given == math.inf or (isinstance(given, str) and given.strip().lower() in ("inf", "infinity")):
        return math.inf
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0.0:
        raise ValueError(f"must be above 0, or inf for constant gaps, got {given!r}")
    return float(given)


class WindowSection(Section):
    """A window of a rate that changes: ``rate`` (0 is possible) for so long. [1/s], [s]"""

    rate: Delay  # a number of at least 0
    lasts: Seconds


class DaySection(Section):
    """A rate that swings like a day. [1/s], 0 to 1, [s]

    Attributes
    ----------
    mean, swing, period, peak : float
        Mean rate; half of highest minus lowest over the mean; length; when the rate is highest.
    """

    mean: Positive
    swing: Positive
    period: Seconds = 86400.0
    peak: Delay = 50400.0


class SharedSection(Section):
    """A system prompt in front of prompts, on top of their lengths.

    Attributes
    ----------
    tokens : int
        Its length. [tokens]
    groups : int
        How many different ones there are.
    zipf : float
        The k-th is used in proportion to k ** -zipf.
    """

    tokens: Count
    groups: Count = 1
    zipf: Delay = 0.0


class SessionsSection(Section):
    """Conversations and agents: each turn repeats the history and adds to it.

    Attributes
    ----------
    turns : lengths
        Requests of a session.
    new_tokens : lengths
        What each turn adds: a message, a tool's result.
    first_tokens : lengths or None
        What the first one is instead (a document, a task).
    think : delays
        From an answer to the next turn: a user's thinking, a tool's work.
    max_context : int or None
        A session ends before the turn that would be longer. [tokens]
    """

    turns: LengthsLike
    new_tokens: LengthsLike
    first_tokens: LengthsLike | None = None
    think: DelaysLike = 0.0
    max_context: Count | None = None

    @field_validator("first_tokens", mode="wrap")
    @classmethod
    def _none_stays(cls, given: object, handler: Any) -> Any:
        return None if given is None else handler(given)


class TrafficSection(Section):
    """What is sent, and when.

    Attributes
    ----------
    isl, osl : lengths
        Prompt and answer: tokens, or a distribution. With sessions, ``isl`` has no meaning.
    rate : float or list
        Open loop: requests (sessions) per second; several make one run each. With a trace: sent at this
        rate, in its order, instead of at its times. [1/s]
    burstiness : float
        Shape of the gaps: 1 is Poisson, below 1 burstier, above 1 more even, inf constant.
    windows : tuple of WindowSection
        Instead of ``rate``: one that changes from window to window, over and over.
    day : DaySection
        Instead of ``rate``: one that swings like a day.
    concurrency : int
        Closed loop: the next is sent when one has ended.
    think : delays
        Closed loop: time before the next is sent. [s]
    ramp_up : float
        Closed loop: the first ones are sent evenly over this time. [s]
    num_requests : int
        How many (sessions, when there are).
    duration : float
        Instead: all that are sent before this time. [s]
    trace, trace_format : str
        A trace file, or the name of a built-in one; its format where the file does not say.
    speed : float
        Trace: its times pass so many times as fast.
    sort, skip_empty : bool
        Trace: put rows in order of time; leave out rows without prompt or answer. Else these are errors.
    shared : SharedSection
        A system prompt.
    sessions : SessionsSection
        Conversations of several turns.
    """

    isl: LengthsLike = 1000
    osl: LengthsLike = 200
    rate: Rates | None = None
    burstiness: Annotated[float, PlainValidator(_burstiness)] = 1.0
    windows: tuple[WindowSection, ...] = ()
    day: DaySection | None = None
    concurrency: Count | None = None
    think: DelaysLike = 0.0
    ramp_up: Delay = 0.0
    num_requests: Count | None = None
    duration: Seconds | None = None
    trace: str | None = None
    trace_format: str | None = None
    speed: Positive = 1.0
    sort: bool = False
    skip_empty: bool = False
    shared: SharedSection | None = None
    sessions: SessionsSection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TrafficSection:
        loads = [name for name in LOADS if getattr(self, name)]
        if len(loads) > 1:
            raise ValueError(f"give {' or '.join(loads)}, not both")
        if not loads and self.trace is None:
            raise ValueError("no load. Give rate, concurrency or trace")
        if self.num_requests is not None and self.duration is not None:
            raise ValueError("give num_requests or duration, not both")
        if self.concurrency is not None and self.duration is not None:
            raise ValueError("a closed loop has no duration. Give num_requests")
        if self.concurrency is None and self.ramp_up:
            raise ValueError("ramp_up needs a closed loop. Give concurrency")
        if self.trace is None and (self.trace_format is not None or self.speed != 1.0):
            raise ValueError("trace_format and speed need a trace. Give trace")
        held = [name for name in ("windows", "day", "sessions", "shared") if getattr(self, name)]
        if self.trace is not None and held:
            raise ValueError(f"a trace has its own times and prompts. Leave out {' and '.join(held)}")
        return self


LOADS = ("rate", "windows", "day", "concurrency")
"""Keys of which one says how much is sent."""
