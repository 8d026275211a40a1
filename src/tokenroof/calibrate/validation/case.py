"""From a row to a question: deployment, engine options, requests."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.calibrate.validation.core import Case, Row, UnmappedError
from tokenroof.calibrate.validation.drafts import drafting_of
from tokenroof.calibrate.validation.engines import engine_of, settings_of
from tokenroof.calibrate.validation.formats import precision_of
from tokenroof.calibrate.validation.layouts import layout_of
from tokenroof.calibrate.validation.loads import lengths_of, load_of, send
from tokenroof.catalog.catalog import Catalog
from tokenroof.catalog.core import Chip
from tokenroof.catalog.model import ModelSpec
from tokenroof.deploy.capacity import capacity
from tokenroof.deploy.core import Deployment, Role
from tokenroof.deploy.simulated.pools import PoolOptions
from tokenroof.deploy.simulated.question import Serving
from tokenroof.errors import InputError
from tokenroof.workload.core import RequestShape


def case_of(row: Row, catalog: Catalog) -> Case:
    """The question that a row asks.

    Parameters
    ----------
    row : Row
        As its file has it.
    catalog : Catalog
        Chips, models, engines by name.

    Raises
    ------
    InputError
        The row does not say enough, or says what cannot be; the message is its reason.
    """
    chip, model = _named(row, catalog)
    engine = engine_of(row.text("framework"), catalog)
    weights = row.text("weight_precision")
    notes: list[str] = []
    if "runs are FP8" in row.text("notes") and "fp8" in chip.peak_flop_per_s:
        weights = "fp8"
        notes.append("fp8 weights: the column names the checkpoint, the notes the run")
    precision, said = precision_of(model, weights, row.text("kv_precision"), chip)
    notes += said
    layout = layout_of(row, chip, engine, model, precision, catalog)
    notes += layout.notes
    load = load_of(_with_load(row))
    prefill_only = row.text("scenario").startswith("prefill only")
    told = _with_load(replace(row, texts={**row.texts, "osl_mean": "1", "osl": "1"}) if prefill_only else row)
    isl, osl = lengths_of(told)
    pools = layout.pools
    if load.offline:
        # Replicas of an offline queue do not meet: one of them, with its share of the queue.
        pools = tuple(replace(pool, replicas=1) for pool in pools) if len(pools) == 1 else pools
    deployment = Deployment(model=model, precision=precision, pools=pools)
    fits = _fits(deployment, isl, osl)
    sent = send(told, load, fits=fits)
    notes += sent.notes
    drafting, told_drafting = drafting_of(row.text("spec_decoding"), model)
    notes += told_drafting
    options = tuple(
        PoolOptions(
            settings=settings_of(row, pool.engine, concurrency=load.concurrency, limited=len(pools) == 1),
            drafting=drafting if pool.role is not Role.PREFILL else None,
        )
        for pool in pools
    )
    return Case(
        row=row,
        deployment=deployment,
        serving=Serving(pools=options),
        requests=sent.requests,
        warm_up=sent.warm_up,
        counts_chips=sum(pool.parallel.chips * pool.replicas for pool in pools),
        notes=tuple(notes),
    )


def _named(row: Row, catalog: Catalog) -> tuple[Chip, ModelSpec]:
    for column in ("hardware", "model", "framework"):
        if not row.text(column):
            raise UnmappedError(f"{column} is not said.")
    return catalog.chip(row.text("hardware")), catalog.model(row.text("model"))


def _with_load(row: Row) -> Row:
    """Tables of published bests say how they were loaded in their own words."""
    low = row.text("load").lower()
    if low.startswith(("saturated prefill", "profile", "large static batch", "open:poisson at max")):
        return replace(row, texts={**row.texts, "load": "offline:max"})
    return row


def _fits(deployment: Deployment, isl: float, osl: float) -> int:
    """Sequences of mean length that the deployment decodes at once."""
    pool = next(pool for pool in deployment.pools if pool.role is not Role.PREFILL)
    shape = RequestShape(isl_tokens=max(1, round(isl)), osl_tokens=max(1, round(osl)))
    try:
        memory = capacity(pool, deployment.model, deployment.precision, shape)
    except InputError:
        return 1
    return max(1, min(memory.max_batch, pool.engine.max_num_seqs * pool.parallel.dp)) * pool.replicas
