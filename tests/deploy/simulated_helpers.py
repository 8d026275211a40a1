"""Requests, pools and deployments that the tests of simulated serving share."""

from collections.abc import Iterable

import numpy as np

from tokenroof.catalog.catalog import Catalog
from tokenroof.deploy.core import Deployment, Estimate, Pool, Role
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import NOBODY, RequestClass, Requests, Slo


def requests_of(
    isl: Iterable[int],
    osl: Iterable[int],
    *,
    concurrency: int | None = None,
    arrival_s: Iterable[float] | None = None,
    slo: Slo | None = None,
) -> Requests:
    """Requests of these lengths; all at once unless times are given."""
    prompts, answers = np.array(list(isl), np.int64), np.array(list(osl), np.int64)
    count = prompts.size
    return Requests(
        arrival_s=np.zeros(count) if arrival_s is None else np.array(list(arrival_s)),
        isl_tokens=prompts,
        osl_tokens=answers,
        follows=np.full(count, NOBODY),
        session=np.full(count, NOBODY),
        class_index=np.zeros(count, np.int64),
        classes=(RequestClass(slo=slo or Slo()),),
        concurrency=concurrency,
    )


def equal_requests(count: int, isl: int, osl: int, concurrency: int) -> Requests:
    """A closed loop of equal requests."""
    return requests_of([isl] * count, [osl] * count, concurrency=concurrency)


def spread_requests(count: int, isl: int, osl: int, concurrency: int, seed: int = 1) -> Requests:
    """A closed loop of lengths between half and one and a half times these, so that waves dissolve."""
    rng = np.random.default_rng(seed)
    prompts, answers = (rng.integers(mean // 2, 3 * mean // 2 + 1, count) for mean in (isl, osl))
    return requests_of(prompts.tolist(), answers.tolist(), concurrency=concurrency)


def poisson(count: int, rate_per_s: float, isl: int, osl: int, slo: Slo | None = None) -> Requests:
    """An open loop."""
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.exponential(1.0 / rate_per_s, count))
    answers = rng.integers(osl // 2, 3 * osl // 2 + 1, count)
    return requests_of([isl] * count, answers.tolist(), arrival_s=times.tolist(), slo=slo)


def pool(
    catalog: Catalog,
    chip: str = "h100",
    engine: str = "vllm",
    role: Role = Role.BOTH,
    replicas: int = 1,
    **ways: int,
) -> Pool:
    return Pool(
        chip=catalog.chip(chip),
        engine=catalog.engine(engine),
        parallel=Parallel(**ways),
        role=role,
        replicas=replicas,
    )


def deployment(catalog: Catalog, model: str, *pools: Pool) -> Deployment:
    found = catalog.model(model)
    return Deployment(model=found, precision=found.precision, pools=pools)


def value(answer: Estimate, name: str) -> float:
    return answer.metrics[name].value
