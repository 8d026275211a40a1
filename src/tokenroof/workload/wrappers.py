"""Any workload, a trace too, made faster, cut, moved in time, or put together with others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, FloatArray, IntArray, Prefixes, Requests, Workload
from tokenroof.workload.inputs import MAX_REQUESTS, check_number, check_whole, streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """The same requests at another rate. Delays within conversations stay: users do not think faster.

    Attributes
    ----------
    workload : Workload
        An open loop.
    rate_factor : float
        Above 1 is faster.
    """

    workload: Workload
    rate_factor: float

    def __post_init__(self) -> None:
        check_number("Scaled", "rate_factor", self.rate_factor, above=0.0)

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones.

        Raises
        ------
        InputError
            The workload is a closed loop.
        """
        requests = _open("Scaled", self.workload.requests(seed))
        times = _sent(requests) / self.rate_factor
        return _moved(requests, times, f"{requests.label}, {self.rate_factor:g} times as fast")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """The same requests, sent later or earlier.

    Attributes
    ----------
    workload : Workload
        An open loop.
    by_s : float
        Above 0 is later. [s]
    """

    workload: Workload
    by_s: float

    def __post_init__(self) -> None:
        check_number("Shifted", "by_s", self.by_s, least=-math.inf)

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones.

        Raises
        ------
        InputError
            The workload is a closed loop, or a request would be sent before time 0.
        """
        requests = _open("Shifted", self.workload.requests(seed))
        times = _sent(requests)
        if times[0] + self.by_s < 0.0:
            raise InputError(
                f"Shifted: by_s {self.by_s:g} is more than the {times[0]:g} s before the first request."
            )
        return _moved(requests, times + self.by_s, requests.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """Part of a workload, with times counted from where it is cut.

    Attributes
    ----------
    workload : Workload
        Any; cutting by time takes an open loop.
    num_requests : int or None
        At most so many requests, the first after ``from_s``. A conversation may end early by it.
    from_s, to_s : float, float or None
        Requests sent, and conversations begun, at from_s <= t < to_s; None: to the end. [s]
    """

    workload: Workload
    num_requests: int | None = None
    from_s: float = 0.0
    to_s: float | None = None

    def __post_init__(self) -> None:
        check_number("Limited", "from_s", self.from_s)
        if self.to_s is not None:
            check_number("Limited", "to_s", self.to_s, above=self.from_s)
        if self.num_requests is not None:
            check_whole("Limited", "num_requests", self.num_requests, least=1, most=MAX_REQUESTS)

    def requests(self, seed: int) -> Requests:
        """The requests; the same seed gives the same ones.

        Raises
        ------
        InputError
            Nothing is left, or a closed loop is cut by time.
        """
        from tokenroof.workload.readers.take import first_of_chain, take  # loads polars

        requests = self.workload.requests(seed)
        rows = np.arange(len(requests))
        if self.from_s > 0.0 or self.to_s is not None:
            began = _open("Limited", requests).arrival_s[first_of_chain(requests.follows)]
            rows = np.flatnonzero((began >= self.from_s) & (began < (self.to_s or math.inf)))
            if rows.size == 0:
                raise InputError(
                    f"Limited: nothing is sent in from_s {self.from_s:g} to to_s {self.to_s}. Requests are "
                    f"sent from {began.min():g} s to {began.max():g} s."
                )
        part = take(requests, rows[: self.num_requests])
        if part.concurrency is not None:
            return _numbered(part)
        return _numbered(_moved(part, _sent(part) - self.from_s, part.label))


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Workloads sent to the same deployment at the same time: tenants, each with a process of its own.

    Attributes
    ----------
    workloads : tuple of Workload
        Open loops; prefixes of different ones have nothing in common.
    """

    workloads: tuple[Workload, ...]

    def __post_init__(self) -> None:
        if len(self.workloads) == 0:
            raise InputError("Merged: no workloads. Give at least one.")

    def requests(self, seed: int) -> Requests:
        """The requests, each workload drawn with a seed of its own; the same seed gives the same ones.

        Raises
        ------
        InputError
            One is a closed loop, or their prefix identities stand for different numbers of tokens.
        """
        from tokenroof.workload.readers.take import first_of_chain  # loads polars

        seeds = [int(rng.integers(2**62)) for rng in streams(seed, len(self.workloads))]
        parts = [
            _open("Merged", workload.requests(own))
            for workload, own in zip(self.workloads, seeds, strict=True)
        ]
        classes = tuple(dict.fromkeys(one for part in parts for one in part.classes))
        class_index = [
            np.array([classes.index(one) for one in part.classes])[part.class_index] for part in parts
        ]
        began = np.concatenate([part.arrival_s[first_of_chain(part.follows)] for part in parts])
        # stable: the turns of a conversation stay in order, since they began at the same time
        order = np.argsort(began, kind="stable")
        return Requests(
            arrival_s=np.concatenate([part.arrival_s for part in parts])[order],
            isl_tokens=np.concatenate([part.isl_tokens for part in parts])[order],
            osl_tokens=np.concatenate([part.osl_tokens for part in parts])[order],
            follows=_linked([part.follows for part in parts], order),
            session=np.concatenate(_apart([part.session for part in parts]))[order],
            class_index=np.concatenate(class_index)[order],
            classes=classes,
            prefixes=_merged_prefixes(parts, order),
            label=" + ".join(dict.fromkeys(part.label for part in parts)),
            source=" + ".join(dict.fromkeys(part.source for part in parts)),
        )


def _open(owner: str, requests: Requests) -> Requests:
    if requests.concurrency is not None:
        raise InputError(
            f"{owner}: a closed loop (of {requests.concurrency}) has no sending times. Give an open loop."
        )
    return requests


def _sent(requests: Requests) -> FloatArray:
    """Sending times of the requests that follow nobody."""
    sent: FloatArray = requests.arrival_s[requests.follows == NOBODY]
    return sent


def _moved(requests: Requests, times: FloatArray, label: str) -> Requests:
    arrival_s = requests.arrival_s.copy()
    arrival_s[requests.follows == NOBODY] = times
    return replace(requests, arrival_s=arrival_s, label=label)


def _numbered(requests: Requests) -> Requests:
    """Sessions numbered from 0 without gaps."""
    talking = requests.session != NOBODY
    session = requests.session.copy()
    session[talking] = np.unique(session[talking], return_inverse=True)[1]
    return replace(requests, session=session)


def _linked(follows: list[IntArray], order: IntArray) -> IntArray:
    """Links of tables laid end to end and then put in order."""
    ends = np.cumsum([column.size for column in follows])
    linked = np.concatenate(
        [
            np.where(column == NOBODY, NOBODY, column + end - column.size)
            for column, end in zip(follows, ends, strict=True)
        ]
    )[order]
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return np.where(linked == NOBODY, NOBODY, place[linked])


def _apart(numbers: list[IntArray]) -> list[IntArray]:
    """Numbers of tables moved up so that no two tables use the same; ``NOBODY`` stays."""
    moved, used = [], 0
    for column in numbers:
        moved.append(np.where(column == NOBODY, NOBODY, column + used))
        used += int(column.max(initial=NOBODY)) + 1
    return moved


def _merged_prefixes(parts: list[Requests], order: IntArray) -> Prefixes | None:
    known = {part.prefixes.block_tokens for part in parts if part.prefixes is not None}
    if not known:
        return None
    if len(known) > 1:
        raise InputError(
            f"Merged: prefix identities stand for {', '.join(map(str, sorted(known)))} tokens. "
            "Give all workloads the same block_tokens."
        )
    none = np.empty(0, dtype=np.int64)
    ids = np.concatenate(_apart([none if p.prefixes is None else p.prefixes.ids for p in parts]))
    counts = np.concatenate(
        [np.zeros(len(p), dtype=np.int64) if p.prefixes is None else np.diff(p.prefixes.start) for p in parts]
    )
    begins = (np.cumsum(counts) - counts)[order]
    start = np.concatenate(([0], np.cumsum(counts[order])))
    taken = np.repeat(begins - start[:-1], counts[order])
    taken += np.arange(taken.size)
    return Prefixes(block_tokens=known.pop(), start=start, ids=ids[taken])
