"""Simulations of candidates: what is run, what is kept of it, and on how many cores."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Estimate
from tokenroof.deploy.simulated.simulate import simulate
from tokenroof.errors import InputError
from tokenroof.search.asked import Question, Target
from tokenroof.search.build import Builder
from tokenroof.search.core import Candidate, Record, Store
from tokenroof.search.demand import faster
from tokenroof.serve.results import Run, State
from tokenroof.workload.core import Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One simulation: a candidate with replicas by pool, a seed, and the rate over the asked one."""

    candidate: Candidate
    replicas: tuple[int, ...]
    seed: int
    rate_factor: float


class Simulator:
    """Runs tasks of one question, here."""

    def __init__(self, question: Question, catalog: Catalog) -> None:
        self.question, self.catalog = question, catalog
        self._builder = Builder(question)
        self._requests: dict[tuple[int, float], Requests] = {}

    def requests(self, seed: int, rate_factor: float = 1.0) -> Requests:
        """What is sent; drawn once."""
        if (seed, 1.0) not in self._requests:
            self._requests[seed, 1.0] = self.question.workload.requests(seed)
        if (seed, rate_factor) not in self._requests:
            self._requests[seed, rate_factor] = faster(self._requests[seed, 1.0], rate_factor)
        return self._requests[seed, rate_factor]

    def run(self, key: str, task: Task) -> Record:
        """What comes of one task."""
        deployment, serving = self._builder.build(task.candidate, task.replicas)
        estimate = simulate(
            deployment,
            self.requests(task.seed, task.rate_factor),
            catalog=self.catalog,
            serving=serving,
            seed=task.seed,
        )
        values = {name: metric.value for name, metric in estimate.metrics.items()}
        values |= _asked_values(estimate, self.question.targets)
        return Record(
            key=key,
            label=task.candidate.label,
            replicas=task.replicas,
            seed=task.seed,
            rate_factor=task.rate_factor,
            values=values,
            low={name: each.low for name, each in estimate.metrics.items() if each.low is not None},
            high={name: each.high for name, each in estimate.metrics.items() if each.high is not None},
            infeasible="" if estimate.infeasible is None else estimate.infeasible.reason,
        )


def _asked_values(estimate: Estimate, targets: Iterable[Target]) -> dict[str, float]:
    """Quantiles that are asked for and that no metric of the estimate is."""
    if estimate.run is None or not estimate.feasible:
        return {}
    return {
        target.name: _quantile(estimate.run, target)
        for target in targets
        if target.name not in estimate.metrics and target.latency != "itl"
    }


def _quantile(run: Run, target: Target) -> float:
    """By numpy's default rule, as all quantiles of a run; nan of no requests, 0 of answers of one token."""
    log = run.log
    mine = log.state == State.COMPLETED
    if target.request_class:
        names = [kind.name for kind in run.requests.classes]
        mine &= log.class_index == names.index(target.request_class)
    if not mine.any():
        return math.nan
    first, last = log.first_s[mine], log.finish_s[mine]
    match target.latency:
        case "ttft":
            values = first - log.arrival_s[mine]
        case "e2e":
            values = last - log.arrival_s[mine]
        case _:
            more = log.out_tokens[mine] > 1
            values = ((last - first) / np.maximum(log.out_tokens[mine] - 1, 1))[more]
            if not values.size:
                return 0.0
    return float(values.mean() if target.quantile is None else np.quantile(values, target.quantile))


# --- keys ----------------------------------------------------------------------------------------


def digest_of(question: Question, requests: Requests) -> str:
    """What of a question decides the result of a simulation, in one word."""
    found = hashlib.sha256()
    parts = (question.model, question.chips, question.space.engines, question.spending)
    for part in (*parts, question.expert_load_factor, [each.name for each in question.targets]):
        found.update(repr(part).encode())
    found.update(repr(requests.classes).encode())
    for column in _columns(requests):
        found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()[:24]


def _columns(requests: Requests) -> list[npt.NDArray[Any]]:
    """Everything that is sent."""
    prefixes = requests.prefixes
    shared = [] if prefixes is None else [prefixes.start, prefixes.ids]
    return [
        requests.arrival_s,
        requests.isl_tokens,
        requests.osl_tokens,
        requests.class_index,
        requests.follows,
        requests.session,
        *shared,
    ]


def alike(one: Requests, other: Requests) -> bool:
    """Whether two draws are the same requests: a trace has no other."""
    pairs = zip(_columns(one), _columns(other), strict=False)
    return len(_columns(one)) == len(_columns(other)) and all(np.array_equal(a, b) for a, b in pairs)


def key_of(digest: str, task: Task) -> str:
    """The key of a task: everything that decides its result."""
    return hashlib.sha256(f"{digest} {task!r}".encode()).hexdigest()[:32]


class Memory:
    """A store that forgets with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, Record] = {}

    def get(self, key: str) -> Record | None:
        """What was kept."""
        return self._kept.get(key)

    def put(self, key: str, record: Record) -> None:
        """Keep it."""
        self._kept[key] = record


# --- processes -----------------------------------------------------------------------------------

_WORKER: dict[str, Simulator] = {}


def _begin(question: Question, catalog: Catalog) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _WORKER["simulator"] = Simulator(question, catalog)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes: they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(key: str, task: Task) -> Record:
    return _WORKER["simulator"].run(key, task)


class Runner:
    """Runs tasks, each once, on several cores; what the store has is not run again.

    Parameters
    ----------
    question, catalog : Question, Catalog
        What is planned.
    store : Store
        Where records are kept.
    workers : int
        Processes; 1 is this one alone.

    Attributes
    ----------
    draws : bool
        Whether another seed is another run: not of a trace, where nothing is drawn.
    ran : int
        Simulations that were run here, not found in the store.
    """

    def __init__(self, question: Question, catalog: Catalog, store: Store, workers: int) -> None:
        self.here = Simulator(question, catalog)
        self._store = store
        requests = self.here.requests(question.seed)
        self._digest = digest_of(question, requests)
        drafts = any(each is not None for each in question.space.drafting)
        self.draws = drafts or not alike(requests, self.here.requests(question.seed + 1))
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._running: dict[Future[Record], str] = {}
        self._others = set(multiprocessing.active_children())
        self.ran = 0

    def kept(self, task: Task) -> Record | None:
        """The record of a task that is done."""
        return self._store.get(key_of(self._digest, task))

    def start(self, task: Task) -> None:
        """Begin a task that is neither done nor running."""
        key = key_of(self._digest, task)
        if key in self._running.values():
            return
        if self._workers <= 1:
            self._keep(key, self.here.run(key, task))
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy threads of the caller half
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=context,
                initializer=_begin,
                initargs=(self.here.question, self.here.catalog),
            )
        with _nothing_to_import():
            self._running[self._pool.submit(_run, key, task)] = key

    def wait(self) -> None:
        """Until at least one running task is done."""
        if not self._running:
            return
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for future in done:
            key = self._running.pop(future)
            try:
                self._keep(key, future.result())
            except BrokenProcessPool:
                raise InputError(
                    "a process was killed, most likely for memory. Ask for fewer at a time: --workers 1."
                ) from None

    def close(self) -> None:
        """End all processes; what is kept stays."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
            self._pool = None
        self._running.clear()

    def _keep(self, key: str, record: Record) -> None:
        self._store.put(key, record)
        self.ran += 1


def cores() -> int:
    """Cores that may be used."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _nothing_to_import() -> Iterator[None]:
    """Processes that start now do not import the caller's script, which may not be made for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
