"""Deployments to launch, and every rendering of them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from tokenroof.catalog.catalog import Catalog, load
from tokenroof.catalog.core import Chip
from tokenroof.deploy.core import Deployment, Pool, Role
from tokenroof.graph.core import Parallel
from tokenroof.report.launch import (
    DraftModel,
    Eagle,
    LaunchFile,
    LaunchSettings,
    Mtp,
    Ngram,
    PoolSettings,
    launch_files,
)
from tokenroof.workload.core import NOBODY, Prefixes, RequestClass, Requests, Slo

CATALOG: Catalog = load()
BOTH, PREFILL, DECODE = Role.BOTH, Role.PREFILL, Role.DECODE
DENSE, MOE = "llama-3.3-70b", "deepseek-v3"
MANIFESTS = ("kubernetes.yaml", "llm-inference-service.yaml", "dynamo.yaml")


def pool(chip: str | Chip, engine: str, role: Role = BOTH, replicas: int = 1, **ways: int) -> Pool:
    chip = CATALOG.chip(chip) if isinstance(chip, str) else chip
    parallel = Parallel(**ways)
    return Pool(chip=chip, engine=CATALOG.engine(engine), parallel=parallel, role=role, replicas=replicas)


def plan(model: str, *pools: Pool, **formats: str) -> Deployment:
    spec = CATALOG.model(model)
    return Deployment(model=spec, precision=replace(spec.precision, **formats), pools=pools)


def requests(
    count: int = 3,
    *,
    follows: int = NOBODY,
    concurrency: int | None = None,
    prefixes: Prefixes | None = None,
    slo: Slo = Slo(ttft_s=1.0, tpot_s=0.04),  # noqa: B008 - frozen
) -> Requests:
    last = np.full(count, NOBODY)
    last[-1] = follows
    return Requests(
        arrival_s=np.zeros(count) if concurrency else np.arange(count) * 0.25,
        isl_tokens=np.arange(count) * 500 + 512,
        osl_tokens=np.arange(count) + 100,
        follows=last,
        session=np.full(count, NOBODY),
        class_index=np.zeros(count, dtype=np.int64),
        classes=(RequestClass(slo=slo),),
        concurrency=concurrency,
        prefixes=prefixes,
    )


def _plans() -> Iterator[tuple[str, Deployment]]:
    for engine in ("vllm", "sglang", "trtllm"):
        yield f"{engine}-one", plan(DENSE, pool("h100", engine, tp=4), weights="fp8", kv="fp8")
        yield f"{engine}-replicas", plan(DENSE, pool("h100", engine, replicas=3, tp=4))
        yield f"{engine}-stages", plan(DENSE, pool("a100", engine, tp=4, pp=2))
        yield f"{engine}-experts", plan(MOE, pool("b200", engine, replicas=2, dp=8, ep=8))
        yield f"{engine}-tensor-experts", plan(MOE, pool("h200", engine, tp=8, ep=8))
        yield f"{engine}-context", plan(DENSE, pool("b200", engine, tp=4, cp=2))
        yield (
            f"{engine}-apart",
            plan(DENSE, pool("h100", engine, PREFILL, 3, tp=2), pool("h100", engine, DECODE, 2, tp=4)),
        )
        yield (
            f"{engine}-two-chips",
            plan(DENSE, pool("h100", engine, PREFILL, 2, tp=8), pool("h200", engine, DECODE, 1, tp=4)),
        )
        yield f"{engine}-hosts", plan(MOE, pool("h200", engine, replicas=2, dp=16, ep=16))
        yield (
            f"{engine}-hosts-apart",
            plan(
                MOE,
                pool("h200", engine, PREFILL, 2, tp=1, dp=8, ep=8),
                pool("gb200-nvl72", engine, DECODE, 1, dp=32, ep=32),
            ),
        )
        yield f"{engine}-tensor-hosts", plan(MOE, pool("h100", engine, tp=16, ep=16))
    for engine in ("vllm", "sglang"):
        yield f"{engine}-amd", plan(DENSE, pool("mi300x", engine, replicas=3, tp=4))
        yield (
            f"{engine}-amd-apart",
            plan(DENSE, pool("mi355x", engine, PREFILL, tp=2), pool("mi355x", engine, DECODE, tp=4)),
        )
        yield f"{engine}-amd-hosts", plan(MOE, pool("mi300x", engine, dp=16, ep=16))
    yield "vllm-tpu", plan(DENSE, pool("tpu-v6e", "vllm", replicas=2, tp=8))
    yield "vllm-gaudi", plan(DENSE, pool("gaudi3", "vllm", tp=4))
    yield "vllm-ascend", plan(DENSE, pool("ascend-910c", "vllm", tp=4))


PLANS: dict[str, Deployment] = dict(_plans())

SETTINGS: dict[str, PoolSettings] = {
    "plain": PoolSettings(),
    "mtp": PoolSettings(speculation=Mtp(draft_tokens=1), prefix_caching=True, offload_bytes=2e11),
    "eagle": PoolSettings(speculation=Eagle(draft_tokens=3, model="a/b"), prefix_caching=False),
    "draft": PoolSettings(speculation=DraftModel(draft_tokens=4, model="c/d"), node_selector={"a": "b"}),
    "ngram": PoolSettings(speculation=Ngram(draft_tokens=4)),
}


def settings_for(deployment: Deployment, each: PoolSettings, **more: Any) -> LaunchSettings:
    return LaunchSettings(pools=(each,) * len(deployment.pools), **more)


def files_of(
    deployment: Deployment, settings: LaunchSettings | None = None, traffic: Requests | None = None
) -> dict[str, LaunchFile]:
    found = launch_files(deployment, settings or LaunchSettings(), traffic or requests())
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def documents(file: LaunchFile) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all(file.text)]


def containers(document: Any) -> Iterator[dict[str, Any]]:
    """Every container in a manifest, wherever it stands."""
    if isinstance(document, dict):
        yield from document.get("containers", ())
        for value in document.values():
            yield from containers(value)
    elif isinstance(document, list):
        for value in document:
            yield from containers(value)


def lines_of(text: str) -> list[list[str]]:
    """The requests of a trace, as timestamp, lengths and identities."""
    return [[*json.loads(line).values()] for line in text.splitlines()]
