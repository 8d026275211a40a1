"""A trace that has been read: recorded requests, what was measured of them, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np

from tokenroof.errors import InputError, UnknownNameError
from tokenroof.workload.core import NOBODY, Arrivals, FloatArray, IntArray, RequestClass, Requests, Workload
from tokenroof.workload.readers.source import Head, Source
from tokenroof.workload.readers.take import first_of_chain, take


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Rows of a file that are not among the requests.

    Attributes
    ----------
    count : int
        How many.
    why : str
        The reason, for reports.
    """

    count: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a reader may do with rows that cannot be served as they are.

    Attributes
    ----------
    sort : bool
        Put rows in order of time; otherwise rows out of order are an error.
    skip_empty : bool
        Leave out (and count) rows whose prompt or answer has 0 tokens; otherwise they are an error.
    """

    sort: bool = False
    skip_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Recorded requests. A ``Workload``: ``requests(seed)`` gives them.

    ``first`` and ``between`` take a part with what was measured of it; the wrappers of any workload
    (``Scaled``, ``Limited``, ``Merged``) give requests alone.

    Attributes
    ----------
    table : Requests
        The requests as the file has them; times are 0 when the file has none.
    format : str
        Format it was read as.
    timed : bool
        Whether the file says when requests were sent.
    measured : mapping of str to FloatArray
        What was measured of each request where the trace was recorded, by the names of the glossary
        (``ttft_s``, ``e2e_s``), shape (num_requests,), nan where it is not given.
    dropped : tuple of Dropped
        Rows left out, and why.
    notes : tuple of str
        What was assumed in reading, a sentence each.
    arrivals : Arrivals or None
        Process that sends the requests (conversations) in place of the recorded times.
    """

    table: Requests
    format: str
    timed: bool = True
    measured: Mapping[str, FloatArray] = field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    notes: tuple[str, ...] = ()
    arrivals: Arrivals | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def label(self) -> str:
        """What this is, for reports."""
        return self.table.label

    @property
    def source(self) -> str:
        """Where it is from, for reports."""
        return self.table.source

    @property
    def free(self) -> IntArray:
        """Rows that follow no other: single requests and the first of each conversation."""
        return np.flatnonzero(self.table.follows == NOBODY)

    @property
    def duration_s(self) -> float:
        """From the first to the last sending time that is recorded. [s]"""
        times = self.table.arrival_s[self.free]
        return float(times[-1] - times[0])

    def requests(self, seed: int) -> Requests:
        """The requests; the seed matters only when ``arrivals`` sends them.

        Raises
        ------
        InputError
            The file has no times and nothing says when to send.
        """
        if self.arrivals is not None:
            times = self.arrivals.times(np.random.default_rng(seed), self.free.size)
            return replace(self.table, arrival_s=self._sent_at(times))
        if not self.timed and self.table.concurrency is None:
            raise InputError(
                f"{self.label}: a {self.format} file has no sending times. "
                "Give a process with sent_by(...), or a closed loop with in_closed_loop(concurrency)."
            )
        return self.table

    def sent_by(self, arrivals: Arrivals) -> Trace:
        """Same requests in the same order, sent by a process (open loop)."""
        return replace(self, arrivals=arrivals, table=replace(self.table, concurrency=None))

    def in_closed_loop(self, concurrency: int) -> Trace:
        """Same requests in the same order, the next one sent as soon as one of ``concurrency`` has ended."""
        zero = self._sent_at(np.zeros(self.free.size))
        return replace(
            self, arrivals=None, table=replace(self.table, arrival_s=zero, concurrency=concurrency)
        )

    def first(self, count: int) -> Trace:
        """The first rows.

        Raises
        ------
        InputError
            Fewer than one.
        """
        if count < 1:
            raise InputError(f"at least 1 request has to be kept, got {count}.")
        return self._taken(np.arange(min(count, len(self))))

    def between(self, start_s: float, stop_s: float) -> Trace:
        """Requests (conversations) sent in ``start_s <= t < stop_s``, with times counted from ``start_s``.

        Raises
        ------
        InputError
            None was sent then, or there are no recorded times.
        """
        if not self.timed or self.table.concurrency is not None or self.arrivals is not None:
            raise InputError(
                f"{self.label}: the recorded sending times are not in use here; cut with first(count)."
            )
        began = self.table.arrival_s[first_of_chain(self.table.follows)]
        rows = np.flatnonzero((began >= start_s) & (began < stop_s))
        if rows.size == 0:
            last = self.table.arrival_s[self.free[-1]]
            raise InputError(
                f"{self.label}: nothing was sent in {start_s:g} s .. {stop_s:g} s. "
                f"The last request is at {last:g} s."
            )
        part = self._taken(rows)
        moved = part._sent_at(part.table.arrival_s[part.free] - start_s)
        return replace(part, table=replace(part.table, arrival_s=moved))

    def with_classes(self, classes: Iterable[RequestClass]) -> Trace:
        """Same requests, with other priorities and SLOs for the classes that are named."""
        given = {kind.name: kind for kind in classes}
        names = [kind.name for kind in self.table.classes]
        for name in given:
            if name not in names:
                raise UnknownNameError("request class", name, names)
        mine = tuple(given.get(kind.name, kind) for kind in self.table.classes)
        return replace(self, table=replace(self.table, classes=mine))

    def _sent_at(self, times: FloatArray) -> FloatArray:
        arrival_s = self.table.arrival_s.copy()
        arrival_s[self.free] = times
        return arrival_s

    def _taken(self, rows: IntArray) -> Trace:
        measured = {name: column[rows] for name, column in self.measured.items()}
        return replace(self, table=take(self.table, rows), measured=measured)


class ReadWorkload(Workload, Protocol):
    """What a reader gives: a ``Trace``, or a process that was fitted to one."""

    @property
    def label(self) -> str:
        """What this is."""
        ...

    @property
    def source(self) -> str:
        """Where it is from."""
        ...

    @property
    def format(self) -> str:
        """Format it was read as."""
        ...

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """Rows left out, and why."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed in reading."""
        ...


class TraceFormat(Protocol):
    """A way to write traces down. One type per format, whose fields are the options of its reader."""

    name: ClassVar[str]
    header: ClassVar[str]

    def recognises(self, head: Head) -> bool:
        """Whether a file that begins so is of this format."""
        ...

    def read(self, source: Source, rules: Rules) -> ReadWorkload:
        """The trace in a file."""
        ...
