"""From a row to a question: deployment, engine options, requests."""

from __future__ import annotations

from dataclasses import replace

from tokenroof.calibrate.validation.benches import trtllm_bench
from tokenroof.calibrate.validation.capacity import limits_of
from tokenroof.calibrate.validation.core import Case, Row, UnmappedError
from tokenroof.calibrate.validation.drafts import drafting_of
from tokenroof.calibrate.validation.engines import engine_of, recipe_notes, settings_of
from tokenroof.calibrate.validation.fields import flag, number
from tokenroof.calibrate.validation.formats import names_format, precision_of
from tokenroof.calibrate.validation.layouts import chips_of_board, layout_of
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
    weights = _weights(row, catalog)
    notes: list[str] = []
    if "runs are FP8" in row.text("notes") and "fp8" in chip.peak_flop_per_s:
        weights = "fp8"
        notes.append("fp8 weights: the column names the checkpoint, the notes the run")
    precision, said = precision_of(model, weights, row.text("kv_precision"), chip)
    notes += said
    if _tuned(row) and precision.weights != "bf16" and "fp8" in chip.peak_flop_per_s:
        precision = replace(precision, kv="fp8")
        notes.append("cache in fp8: entries of a benchmark with narrow weights quantise it too")
    told = _told(row)
    if "prefill only" in row.text("scenario") and flag(row, "disagg"):
        engine = replace(
            engine, exposed_collective_fraction=replace(engine.exposed_collective_fraction, value=0.0)
        )
        notes.append("collectives behind the other of two micro-batches")
    load = load_of(told)
    isl, osl = lengths_of(told)
    limits = limits_of(row, model.name) if load.highest else None
    tpot_s = limits.tpot_s if limits is not None else None
    layout = layout_of(told, chip, engine, model, precision, catalog, tpot_s=tpot_s)
    notes += layout.notes
    pools = layout.pools
    if load.offline or load.highest:
        # Replicas of an offline queue do not meet: one of them, with its share of the queue; a Poisson
        # stream that is dealt out evenly is one again.
        pools = tuple(replace(pool, replicas=1) for pool in pools) if len(pools) == 1 else pools
    deployment = Deployment(model=model, precision=precision, pools=pools)
    beams = _beams(row, model)
    fits = _fits(deployment, isl, osl * beams)
    if beams > 1:
        notes.append(f"beam search: {beams} answers to each prompt")
    sent = send(told, load, fits=fits, context_tokens=model.max_context_tokens, beams=beams)
    notes += sent.notes
    drafting, told_drafting = drafting_of(row.text("spec_decoding"), model)
    notes += told_drafting
    benched = trtllm_bench(pools[0], model, precision, isl, osl) if _benched(row) else None
    alone = len(pools) == 1
    if benched is None:
        notes += recipe_notes(told, pools[0].engine, concurrency=load.concurrency, limited=alone)
    options = tuple(
        PoolOptions(
            settings=benched or settings_of(told, pool.engine, concurrency=load.concurrency, limited=alone),
            drafting=drafting if pool.role is not Role.PREFILL else None,
        )
        for pool in pools
    )
    return Case(
        row=row,
        deployment=deployment,
        serving=Serving(pools=options),
        requests=sent.requests,
        beams=beams,
        limits=limits,
        counts_chips=sum(pool.parallel.chips * pool.replicas for pool in pools) / chips_of_board(row, chip),
        steady=load.offline and not row.text("n_requests"),
        notes=tuple(notes),
    )


def _named(row: Row, catalog: Catalog) -> tuple[Chip, ModelSpec]:
    for column in ("hardware", "model", "framework"):
        if not row.text(column):
            raise UnmappedError(f"{column} is not said.")
    model, _ = catalog.find_model(row.text("model"))
    return catalog.chip(row.text("hardware")), model


def _weights(row: Row, catalog: Catalog) -> str:
    """What the row says of its weights, or else the name of its checkpoint."""
    _, formats = catalog.find_model(row.text("model"))
    named = " ".join(formats)
    return row.text("weight_precision") or (named if names_format(named) else "")


def _beams(row: Row, model: ModelSpec) -> int:
    """MLPerf's GPT-J searches with four beams (mlcommons/inference, ``language/gpt-j``: ``num_beams``)."""
    return 4 if row.text("source").startswith("MLPerf") and model.name == "gpt-j-6b" else 1


def _benched(row: Row) -> bool:
    """Whether the client of the run chose the limits of the server."""
    limits = row.text("max_num_seqs") or row.text("max_batched_tokens")
    return "trtllm-bench" in row.text("notes") and not limits


def _tuned(row: Row) -> bool:
    """Whether a row is an entry of a benchmark that does not say its cache's format."""
    return row.text("source").startswith("MLPerf") and not row.text("kv_precision")


def _told(row: Row) -> Row:
    """The row with what the words of published tables mean: their loads, and answers of one token."""
    texts = dict(row.texts)
    if row.text("load").lower().startswith(("saturated prefill", "profile", "large static batch")):
        texts["load"] = "offline:max"
    if row.text("scenario").startswith("prefill only"):
        # The token that ends a prompt's step is part of the context.
        isl = number(row, "isl_mean") or number(row, "isl")
        texts |= {"osl_mean": "1", "osl": "1"} | ({"isl_mean": f"{isl - 1.0:g}"} if isl else {})
    return replace(row, texts=texts)


def _fits(deployment: Deployment, isl: float, osl: float) -> int:
    """Sequences of mean length that the deployment decodes at once."""
    pool = next(pool for pool in deployment.pools if pool.role is not Role.PREFILL)
    shape = RequestShape(isl_tokens=max(1, round(isl)), osl_tokens=max(1, round(osl)))
    try:
        memory = capacity(pool, deployment.model, deployment.precision, shape)
    except InputError:
        return 1
    return max(1, min(memory.max_batch, pool.engine.max_num_seqs * pool.parallel.dp)) * pool.replicas
