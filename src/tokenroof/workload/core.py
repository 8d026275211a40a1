"""The nouns of a workload: what one request is, what its user expects, and a table of many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokenroof.errors import InputError
from tokenroof.workload.check import check_requests

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NOBODY = -1
"""In columns that point to another request or a session: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShape:
    """A request of fixed lengths.

    Attributes
    ----------
    isl_tokens, osl_tokens : int
        Prompt and answer. [tokens]
    image_tokens : int
        Of the prompt, those that come from images. [tokens]
    """

    isl_tokens: int
    osl_tokens: int
    image_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("isl_tokens", "osl_tokens"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        if not 0 <= self.image_tokens <= self.isl_tokens:
            raise InputError(
                f"image_tokens must lie in 0..isl_tokens ({self.isl_tokens}), got {self.image_tokens}."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What a request has to meet to be good; a limit that is None is not asked for.

    Attributes
    ----------
    ttft_s, tpot_s, e2e_s : float or None
        Largest time to first token, per output token, end to end. [s]
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s", "e2e_s"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise InputError(f"an SLO's {name} must be above 0, got {value!r}.")

    @property
    def asked(self) -> bool:
        """Whether there is any limit."""
        return not (self.ttft_s is None and self.tpot_s is None and self.e2e_s is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """A kind of requests: how urgent they are and what they have to meet.

    Attributes
    ----------
    name : str
        For tables.
    priority : int
        0 is served first, up to 7.
    slo : Slo
        Limits.
    """

    name: str = "all"
    priority: int = 0
    slo: Slo = field(default_factory=Slo)

    def __post_init__(self) -> None:
        if not 0 <= self.priority <= 7:
            raise InputError(f"a priority must lie in 0 (first) .. 7, got {self.priority}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefixes:
    """What prompts share, as identities of their leading blocks.

    Attributes
    ----------
    block_tokens : int
        Tokens that one identity stands for. [tokens]
    start : IntArray
        Where the identities of each request begin in ``ids``, shape (num_requests + 1,).
    ids : IntArray
        Identities, whole numbers from 0 without gaps, shape (start[-1],). Equal leading identities are
        equal leading tokens. A request may have more than its prompt fills: those of its answer, which
        a later turn of the conversation repeats.
    """

    block_tokens: int
    start: IntArray
    ids: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Requests as columns, in the order in which they are sent; all of shape (num_requests,).

    Attributes
    ----------
    arrival_s : FloatArray
        When the request is sent, counted from the start (ascending over the requests that follow
        nobody). For one that follows another: the delay after that one has finished (a user's thinking,
        a tool's work). In a closed loop: the delay after a place has become free. [s]
    isl_tokens, osl_tokens : IntArray
        Prompt (with everything that is cached of it) and answer. [tokens]
    follows : IntArray
        Row of the request after which it is sent, an earlier one that nobody else follows; ``NOBODY``.
    session : IntArray
        Conversation it belongs to, from 0; ``NOBODY``.
    class_index : IntArray
        Row of ``classes``.
    classes : tuple of RequestClass
        Kinds of requests.
    prefixes : Prefixes or None
        What prompts share; None when nothing is known to be shared.
    concurrency : int or None
        Closed loop: at most so many requests (or conversations) are in progress, the next is sent when
        one has ended, in order of rows. None: open loop, sent at ``arrival_s`` whatever happens.
    label, source : str
        What this is and where it is from, for reports.

    Raises
    ------
    InputError
        Columns of different lengths, no requests, lengths below 1, times that are negative, not finite or
        not ascending, or links that point nowhere, in one line with the row.
    """

    arrival_s: FloatArray
    isl_tokens: IntArray
    osl_tokens: IntArray
    follows: IntArray
    session: IntArray
    class_index: IntArray
    classes: tuple[RequestClass, ...] = (RequestClass(),)
    prefixes: Prefixes | None = None
    concurrency: int | None = None
    label: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        check_requests(self)

    def __len__(self) -> int:
        return int(self.arrival_s.size)


class Workload(Protocol):
    """Anything that requests can be drawn from: a process, a trace, conversations."""

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones."""
        ...


class Lengths(Protocol):
    """A distribution of token counts."""

    @property
    def mean_tokens(self) -> float:
        """Expected length. [tokens]"""
        ...

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """So many lengths of at least 1, shape (count,). [tokens]"""
        ...


class Arrivals(Protocol):
    """A process of sending times."""

    @property
    def rate_per_s(self) -> float:
        """Mean rate. [1/s]"""
        ...

    def times(self, rng: np.random.Generator, count: int) -> FloatArray:
        """So many ascending times from 0 on, shape (count,). [s]"""
        ...
