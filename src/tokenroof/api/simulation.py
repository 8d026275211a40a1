"""The calls that simulate: one run per deployment and rate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from tokenroof.api.answer import Answer
from tokenroof.api.deployments import Asked, asked, fleet_of, router_of, spending_of
from tokenroof.api.inputs import ChipLike, ModelLike
from tokenroof.api.lookup import Catalog, CatalogLike, load_catalog
from tokenroof.api.progress import Watch, watching
from tokenroof.api.rundir import RunDirectory
from tokenroof.api.spec.common import Common, sections
from tokenroof.api.spec.core import Spec
from tokenroof.api.spec.reading import spec_of
from tokenroof.api.spec.traffic import LOADS
from tokenroof.api.workloads import workload_of
from tokenroof.deploy.core import Estimate
from tokenroof.deploy.simulated.question import Serving
from tokenroof.deploy.simulated.simulate import simulate as run_deployment
from tokenroof.errors import InputError, TokenroofError
from tokenroof.serve.invariants import check as check_run
from tokenroof.serve.spans import WHOLE, Window
from tokenroof.workload.core import Requests

RECORDED_SEGMENTS = 500_000
"""Stretches of work that are kept for a Perfetto trace."""


class BrokenRunError(TokenroofError):
    """A run contradicts itself: a fault of the simulator."""


def simulate(
    model: ModelLike | None = None,
    chip: ChipLike | list[ChipLike] | None = None,
    *,
    spec: str | Path | Mapping[str, Any] | Spec | None = None,
    progress: bool = False,
    segments: bool = False,
    catalog: CatalogLike = (),
    **common: Unpack[Common],
) -> Answer:
    """Serve requests, one by one, on a model and its chips; what each of them sees comes out.

    Parameters
    ----------
    model, chip : as for :func:`tokenroof.estimate`
        Several chips make one run each.
    spec : path, mapping or Spec, optional
        Everything in one place, see ``docs/howto/simulate.md``; arguments are laid over it.
    progress : bool
        Show on standard error how far a long run is.
    segments : bool
        Keep what every replica did when, for ``answer.save("trace.perfetto.json")``.
    catalog : path, sequence of paths, or Catalog
        As for :func:`tokenroof.estimate`.
    **common
        *Layout*: ``tp, pp, ep, dp, cp, replicas``; ``prefill_chip, prefill_tp, prefill_replicas``,
        ``overlap`` (part of the cache that is sent while the prompt is computed).
        *Formats, engine*: ``weights, kv, expert_load_factor``; ``engine``, ``engine_options`` by the engine's
        own names, ``scheduler`` ("static" batches without joining).
        *Lengths*: ``isl, osl``: tokens, ``"lognormal:mean=1000,sigma=0.8"``, a mapping, a list to draw from.
        *Load*: ``rate`` (one, or a list: one run each), ``burstiness``; or ``concurrency``, ``think``;
        or ``trace`` (a file, or a built-in name) with ``trace_format``; ``num_requests`` or ``duration``;
        ``shared`` (system prompt), ``sessions`` (turns, new_tokens, think).
        *Limits*: ``slo`` such as ``{"ttft": "2 s", "tpot": 0.05}``, ``classes`` with shares and priorities.
        *Cache*: ``prefix_caching``, ``host_gb``, ``ssd_gb``, ``remote_gb``; ``speculation``.
        *Fleet*: ``router, failures, spares, autoscale``.
        *Money*: ``price, region, utilisation, pue, capex_usd``.
        *Run*: ``seed``, ``warm_up`` [s] or ``warm_up_requests`` that do not count, ``check`` (verify every
        invariant), ``out`` (a directory that is written while the run goes on).

    Returns
    -------
    Answer
        One estimate per chip and rate, with the run in ``estimate.run``. An interrupted run is there with
        ``run.complete`` False, and is the last.

    Raises
    ------
    InputError
        Bad input, in one line with its place.
    BrokenRunError
        With ``check``: the run contradicts itself.

    Examples
    --------
    >>> import tokenroof as tr
    >>> answer = tr.simulate("llama-3.1-8b", "h100", rate=4, num_requests=200, isl=500, osl=100)
    >>> answer.metric("completed_requests")
    200.0
    """
    said = spec_from(spec, model, chip, common)
    found = load_catalog(catalog)
    rows: list[Estimate] = []
    for rate in said.traffic.rate or (None,):
        requests = workload_of(said, rate).requests(said.seed)
        for layout in said.layouts:
            given = asked(said, layout, requests, found)
            label = label_of(said, given, rate)
            place = _directory(said, len(rows), label)
            kept = None if place is None else RunDirectory(place, said, requests)
            with watching(label, enabled=progress) as watch:
                row = _run(
                    said, given, requests, found, label, kept.watch(watch) if kept else watch, segments
                )
            if kept is not None:
                kept.close(row)
            rows.append(row)
            if interrupted(rows[-1]):
                return Answer(tuple(rows))
    return Answer(tuple(rows))


def spec_from(
    spec: str | Path | Mapping[str, Any] | Spec | None,
    model: object,
    chip: object,
    common: Mapping[str, Any],
    *,
    default_rate: float | None = None,
) -> Spec:
    """The spec that a call means; ``default_rate`` where no load is given.

    Raises
    ------
    InputError
        Neither a model with a chip nor a spec; anything wrong in them.
    """
    if isinstance(spec, Spec):
        if model is not None or chip is not None or common:
            spec = spec.plain()
        else:
            return spec
    if spec is None and (model is None or chip is None):
        raise InputError("give a model and a chip (--model, --chip), or a spec.")
    given, where = sections(spec, model, chip, common)
    traffic = given.get("traffic", {})
    if (
        default_rate is not None
        and isinstance(traffic, Mapping)
        and not any(map(traffic.get, (*LOADS, "trace")))
    ):
        given["traffic"] = {**traffic, "rate": default_rate}
    return spec_of(given, where=where)


def interrupted(estimate: Estimate) -> bool:
    """Whether the run of an estimate was cut short."""
    return estimate.run is not None and not estimate.run.complete


def serving_of(spec: Spec, given: Asked, *, segments: bool = False) -> Serving:
    """How the deployment of a spec is served."""
    output = spec.output
    window = (
        Window(from_s=output.warm_up, skip_first=output.warm_up_requests)
        if output.warm_up or output.warm_up_requests
        else WHOLE
    )
    return Serving(
        pools=given.options,
        router=router_of(spec.fleet.router),
        fleet=fleet_of(spec.fleet, given.deployment.pools),
        window=window,
        spending=spending_of(spec),
        record_segments=RECORDED_SEGMENTS if segments else 0,
    )


def _run(
    spec: Spec,
    given: Asked,
    requests: Requests,
    catalog: Catalog,
    label: str,
    watch: Watch | None,
    segments: bool,
) -> Estimate:
    serving = serving_of(spec, given, segments=segments)
    estimate = run_deployment(
        given.deployment,
        requests,
        catalog=catalog,
        serving=serving,
        seed=spec.seed,
        label=label,
        progress=watch,
    )
    if spec.output.check and estimate.run is not None:
        broken = check_run(estimate.run)
        if broken:
            lines = "; ".join(f"{each.name}: {each.message}" for each in broken)
            raise BrokenRunError(f"the run contradicts itself, please report it: {lines}.")
    return replace(estimate, assumptions=(*estimate.assumptions, *given.notes))


def _directory(spec: Spec, index: int, label: str) -> Path | None:
    """Where a run is written: a directory of its own when there are several."""
    if spec.output.directory is None:
        return None
    root = Path(spec.output.directory)
    several = len(spec.layouts) * len(spec.traffic.rate or (None,)) > 1
    name = re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")
    return root / f"run-{index:02d}-{name}" if several else root


def label_of(spec: Spec, given: Asked, rate: float | None) -> str:
    """What tells runs apart: the chips, and the rate when there are several."""
    chips = ", ".join(dict.fromkeys(pool.chip.name for pool in given.deployment.pools))
    if rate is None or len(spec.traffic.rate or ()) < 2:
        return chips
    return f"{chips} at {rate:g}/s"
