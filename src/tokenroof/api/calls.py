"""The calls: estimate, explain, batch_sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from tokenroof.api.answer import Answer
from tokenroof.api.inputs import (
    MOST_SEQUENCES,
    MOST_WAYS,
    ChipLike,
    EngineLike,
    ModelLike,
    check_cache,
    optional_whole,
    positive,
    precision,
    resolve_chip,
    resolve_chips,
    resolve_engine,
    resolve_model,
    sharding,
    spending,
    whole,
)
from tokenroof.api.lookup import CatalogLike, load_catalog
from tokenroof.deploy.core import Deployment, Estimate, Pool, Role
from tokenroof.deploy.estimate import estimate as closed_form
from tokenroof.errors import InputError
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

MOST_SWEPT = 1024
"""Largest batch of a sweep when none are asked for."""


class Options(TypedDict, total=False):
    """The keyword arguments of :func:`estimate` besides model, chip, concurrency and batch."""

    tp: int | None
    pp: int | None
    ep: int | None
    dp: int | None
    cp: int | None
    replicas: int
    isl: int
    osl: int
    image_tokens: int
    weights: str | None
    kv: str | None
    engine: EngineLike
    expert_load_factor: float
    price: str | float
    region: str
    utilisation: float
    pue: str
    capex_usd: float | None
    prefill_chip: ChipLike | None
    prefill_tp: int | None
    prefill_replicas: int
    catalog: CatalogLike


def estimate(
    model: ModelLike,
    chip: ChipLike | Sequence[ChipLike],
    *,
    tp: int | None = None,
    pp: int | None = None,
    ep: int | None = None,
    dp: int | None = None,
    cp: int | None = None,
    replicas: int = 1,
    isl: int = 2000,
    osl: int = 500,
    image_tokens: int = 0,
    concurrency: int | None = None,
    batch: int | None = None,
    weights: str | None = None,
    kv: str | None = None,
    engine: EngineLike = "vllm",
    expert_load_factor: float = 1.0,
    price: str | float = "cloud",
    region: str = "us",
    utilisation: float = 1.0,
    pue: str = "industry_latest",
    capex_usd: float | None = None,
    prefill_chip: ChipLike | None = None,
    prefill_tp: int | None = None,
    prefill_replicas: int = 1,
    catalog: CatalogLike = (),
) -> Answer:
    """Speed, memory, cost, energy and carbon of a model on one or several chips.

    Parameters
    ----------
    model : str, Path, mapping or ModelSpec
        A catalog name ("llama-3.3-70b"), a Hugging Face id in the catalog, the path of a ``config.json``
        or its directory, the text or the content of one.
    chip : str, Path, Chip, or a sequence of them
        Catalog names ("h100") or paths of chip files ("./mine.yaml"); one estimate each.
    tp, pp, ep, dp, cp : int, optional
        Tensor, pipeline, expert, attention data and context parallel ways. Default: the fewest chips of
        ``chip`` that hold the model and a working set of sequences.
    replicas : int
        Copies of the model.
    isl, osl, image_tokens : int
        Prompt, answer, and the part of the prompt that comes from images. [tokens]
    concurrency, batch : int, optional
        Sequences at once in the whole deployment, or per replica; not both. Default: 64 per replica,
        or what fits.
    weights, kv : str, optional
        Formats of the weights (activations follow as engines have them) and of the cache. Default: as
        the model's config says. Caches are kept in bf16, fp16, fp8 or int8; in mxfp8, nvfp4 or mxfp4
        where the chip has a 4-bit float peak.
    engine : str or Engine
        "vllm", "sglang", "trtllm" or "generic".
    expert_load_factor : float
        Routed tokens of the busiest expert parallel rank over the mean, 1 or more.
    price : str or float
        How a chip-hour is paid ("cloud", "cloud_low", "own_hyperscaler", "rent_3yr", "tco", ...), or what
        it costs. [USD/h]
    region, pue : str
        Where the electricity comes from; whose facility.
    utilisation : float
        Part of the paid hours that serve, above 0 up to 1.
    capex_usd : float, optional
        Capital cost of a chip with its share of server and network, for ``price="tco"``. [USD]
    prefill_chip : str, Path or Chip, optional
        Prefill on chips of its own; then ``chip`` and the ways above are those of decode.
    prefill_tp, prefill_replicas : int
        Tensor parallel ways and copies of the prefill pool.
    catalog : path, sequence of paths, or Catalog
        Directories laid over the packaged catalog, or a catalog loaded before.

    Returns
    -------
    Answer
        One estimate per chip, in order. What cannot be has ``infeasible`` set, with the reason, and no
        metrics: ``answer[0].metrics["tpot_s"]`` is a KeyError there, ``answer.metric("tpot_s")`` says why.

    Raises
    ------
    InputError
        Bad input, in one line.
    CatalogError
        A malformed catalog file.

    Examples
    --------
    >>> import tokenroof as tr
    >>> answer = tr.estimate("llama-3.1-8b", ["h100", "b200"], isl=1000, osl=200, concurrency=8)
    >>> [estimate.label for estimate in answer]
    ['h100', 'b200']
    """
    if concurrency is not None and batch is not None:
        raise InputError("give concurrency or batch, not both.")
    found = load_catalog(catalog)
    at_once = optional_whole("concurrency", concurrency, most=MOST_SEQUENCES)
    per_replica = optional_whole("batch", batch, most=MOST_SEQUENCES)
    shape = RequestShape(
        isl_tokens=whole("isl", isl),
        osl_tokens=whole("osl", osl),
        image_tokens=whole("image_tokens", image_tokens, least=0),
    )
    ways = {"tp": tp, "pp": pp, "ep": ep, "dp": dp, "cp": cp}
    ways = {name: optional_whole(name, count, most=MOST_WAYS) for name, count in ways.items()}
    copies = (
        whole("replicas", replicas, most=MOST_WAYS),
        whole("prefill_replicas", prefill_replicas, most=MOST_WAYS),
    )
    whole("batch times replicas", (per_replica or 1) * copies[0], most=MOST_SEQUENCES)
    first_tp = optional_whole("prefill_tp", prefill_tp, most=MOST_WAYS)
    money = spending(price=price, region=region, utilisation=utilisation, pue=pue, capex_usd=capex_usd)
    load_factor = positive("expert_load_factor", expert_load_factor)
    served, runs = resolve_model(found, model), resolve_engine(found, engine)
    formats = precision(served, weights, kv)
    if prefill_chip is None and (first_tp is not None or copies[1] != 1):
        raise InputError("prefill_tp and prefill_replicas need prefill_chip. Name the chip that prefills.")
    at_replica = per_replica if at_once is None else -(-at_once // copies[0])
    apart = resolve_chip(found, prefill_chip) if prefill_chip is not None else None

    def pool(which: Role, where: ChipLike, asked: dict[str, int | None], copies: int) -> Pool:
        on = resolve_chip(found, where)
        wanted = None if which is Role.PREFILL else at_replica
        parallel: Parallel = sharding(on, runs, served, formats, shape, asked, wanted)
        return Pool(chip=on, engine=runs, parallel=parallel, role=which, replicas=copies)

    rows: list[Estimate] = []
    listed = resolve_chips(found, chip)
    check_cache(formats, listed if apart is None else (*listed, apart))
    for each in listed:
        pools = [pool(Role.BOTH if apart is None else Role.DECODE, each, ways, copies[0])]
        if apart is not None:
            pools.insert(0, pool(Role.PREFILL, apart, {"tp": first_tp}, copies[1]))
        deployment = Deployment(
            model=served, precision=formats, pools=tuple(pools), expert_load_factor=load_factor
        )
        row = closed_form(
            deployment, shape, catalog=found, concurrency=at_once, batch=per_replica, spending=money
        )
        notes = _chosen(pools, ways, first_tp) if row.feasible else []
        rows.append(replace(row, assumptions=(*row.assumptions, *notes)))
    return Answer(tuple(rows))


def _chosen(pools: Sequence[Pool], ways: dict[str, int | None], prefill_tp: int | None) -> list[str]:
    """Which layouts were not asked for."""
    open_ = {pool.role: not any(ways.values()) for pool in pools} | {Role.PREFILL: prefill_tp is None}
    return [
        f"layout: {pool.parallel.chips} x {pool.chip.name} (tp={pool.parallel.tp}, pp={pool.parallel.pp}), "
        "the fewest chips that hold the model and a working set of sequences"
        for pool in pools
        if open_[pool.role]
    ]


def explain(
    model: ModelLike,
    chip: ChipLike | Sequence[ChipLike],
    *,
    concurrency: int | None = None,
    batch: int | None = None,
    **options: Unpack[Options],
) -> str:
    """Where every millisecond and every gigabyte goes, with sources, as text to print.

    Takes the arguments of :func:`estimate`.
    """
    return estimate(model, chip, concurrency=concurrency, batch=batch, **options).explain()


def batch_sweep(
    model: ModelLike,
    chip: ChipLike | Sequence[ChipLike],
    *,
    batches: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> Answer:
    """One estimate per chip and batch: throughput against the speed a user sees.

    Parameters
    ----------
    model, chip, options
        As for :func:`estimate`.
    batches : sequence of int, optional
        Sequences at once per replica. Default: powers of two up to what fits, at most 1024.

    Returns
    -------
    Answer
        Draw it with ``chart("sweep")``.

    Raises
    ------
    InputError
        As :func:`estimate`, or an empty list of batches.
    """
    if batches is not None and not list(batches):
        raise InputError("batches must not be empty. Write batches=[1, 8, 64].")
    found = load_catalog(options.get("catalog", ()))
    options["catalog"] = found
    served = resolve_model(found, model)
    rows: list[Estimate] = []
    for each in resolve_chips(found, chip):
        # One layout for all batches: the one that is chosen when none is asked for.
        first = estimate(served, each, **options)[0]
        parallel = first.deployment.pools[-1].parallel
        laid: Options = {**options, "tp": parallel.tp, "pp": parallel.pp}
        notes = tuple(note for note in first.assumptions if note.startswith("layout: "))
        for size in batches if batches is not None else _powers(first):
            row = estimate(served, each, batch=size, **laid)[0]
            rows.append(replace(row, assumptions=tuple(dict.fromkeys((*row.assumptions, *notes)))))
    return Answer(tuple(replace(row, label="") for row in rows))


def _powers(first: Estimate) -> list[int]:
    """Powers of two up to what the decoding pool holds and its engine runs; 1 when nothing fits."""
    pool = first.deployment.pools[-1]
    held = first.capacity.max_batch if first.capacity is not None else 1
    most = max(1, min(held, pool.engine.max_num_seqs * pool.parallel.dp, MOST_SWEPT))
    return [2**power for power in range(most.bit_length())]
