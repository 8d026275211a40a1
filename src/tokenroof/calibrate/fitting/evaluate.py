"""Rows simulated with many sets of parameters, on several cores, nothing twice."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import groupby
from types import TracebackType
from typing import TypeAlias

from tokenroof.calibrate.fitting.core import Subject
from tokenroof.calibrate.validation.case import case_of
from tokenroof.calibrate.validation.core import Row
from tokenroof.calibrate.validation.predict import reported
from tokenroof.calibrate.validation.run import nothing_to_import
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.tuning import TUNABLES, Tuning
from tokenroof.deploy.core import Estimate
from tokenroof.deploy.simulated.client import serve_requests
from tokenroof.deploy.simulated.question import prepare
from tokenroof.errors import InputError, TokenroofError

Metrics: TypeAlias = Mapping[str, float]
Job: TypeAlias = tuple[int, Tuning]
"""A subject by its place, and the parameters to simulate it with."""

Task: TypeAlias = tuple[Job, ...]
Answer: TypeAlias = tuple[Metrics | None, str]
_Key: TypeAlias = tuple[str, tuple[float, ...]]

_MOST_JOBS = 200
"""Of one task: enough to share step tables, few enough to keep cores even."""


def simulated(row: Row, catalog: Catalog) -> Metrics:
    """What the client of a row would report; without energy and cost, which take most of an answer.

    Raises
    ------
    TokenroofError
        The row cannot be mapped or served.
    """
    case = case_of(row, catalog)
    prepared = prepare(
        case.deployment, case.requests, case.serving, catalog=catalog, seed=0, label=case.row.id
    )
    if isinstance(prepared, Estimate):
        assert prepared.infeasible is not None
        raise InputError(prepared.infeasible.reason)
    return reported(case, serve_requests(prepared, case.requests).log)


class Evaluator:
    """Simulates subjects; a context, since it keeps processes.

    Parameters
    ----------
    subjects : sequence of Subject
        Which rows.
    catalog : Catalog
        Chips, models, engines.
    workers : int
        Processes; 1 stays in this one.
    progress : callable, optional
        Told (done, total) rows of each call.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        catalog: Catalog,
        *,
        workers: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.subjects = tuple(subjects)
        self._problems: dict[str, str] = {}
        self._catalog = catalog
        self._workers = workers
        self._progress = progress
        self._known: dict[_Key, Metrics | None] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    @property
    def problems(self) -> dict[int, str]:
        """Why subjects could not be served with some of the parameters, by their place."""
        return {
            place: self._problems[each.asked]
            for place, each in enumerate(self.subjects)
            if each.asked in self._problems
        }

    def predict(self, jobs: Iterable[Job]) -> list[Metrics | None]:
        """Metrics by column of every job; None where it cannot be served, see ``problems``.

        Raises
        ------
        InputError
            A process was killed.
        """
        asked = [(self._key(index, tuning), (index, tuning)) for index, tuning in jobs]
        missing = {key: job for key, job in reversed(asked) if key not in self._known}
        done = 0
        for task, found in self._run(self._tasks(missing)):
            for (index, tuning), (metrics, problem) in zip(task, found, strict=True):
                self._known[self._key(index, tuning)] = metrics
                if problem:
                    self._problems.setdefault(self.subjects[index].asked, problem)
            done += len(task)
            if self._progress is not None:
                self._progress(done, len(missing))
        return [self._known[key] for key, _ in asked]

    def _tasks(self, missing: Mapping[_Key, Job]) -> list[Task]:
        """Jobs on the same step tables together, those with the same parameters side by side."""
        alike: dict[str, list[tuple[tuple[float, ...], Job]]] = {}
        for (_, values), job in missing.items():
            alike.setdefault(self.subjects[job[0]].tables, []).append((values, job))
        tasks: list[Task] = []
        for members in alike.values():
            jobs = [job for _, job in sorted(members, key=lambda member: (member[0], member[1][0]))]
            tasks += [tuple(jobs[start : start + _MOST_JOBS]) for start in range(0, len(jobs), _MOST_JOBS)]
        return sorted(tasks, key=len, reverse=True)

    def _key(self, index: int, tuning: Tuning) -> _Key:
        subject = self.subjects[index]
        return subject.asked, tuple(tuning.value(name, subject.scopes) for name in TUNABLES)

    def _run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, list[Answer]]]:
        rows = [subject.row for subject in self.subjects]
        if self._workers == 1 or len(tasks) < 2:
            for task in tasks:
                yield task, _simulate(rows, self._catalog, task)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_begin, initargs=(self._catalog, rows)
            )
        try:
            with nothing_to_import():
                futures = {self._pool.submit(_task, task): task for task in tasks}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise InputError(
                "a process was killed, most likely for memory. Ask for fewer at a time: --workers 1."
            ) from None


_WORKER: dict[str, tuple[Catalog, list[Row]]] = {}


def _begin(catalog: Catalog, rows: list[Row]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us
    _WORKER["given"] = catalog, rows


def _task(task: Task) -> list[Answer]:
    catalog, rows = _WORKER["given"]
    return _simulate(rows, catalog, task)


def _simulate(rows: Sequence[Row], catalog: Catalog, task: Task) -> list[Answer]:
    found: list[Answer] = []
    for tuning, jobs in groupby(task, key=lambda job: job[1]):
        tuned = catalog.tuned(tuning)
        for index, _ in jobs:
            try:
                found.append((simulated(rows[index], tuned), ""))
            except TokenroofError as error:
                found.append((None, str(error)))
    return found
