"""How matrices and batches are cut: the shape of a weight on one chip, the share of the busiest rank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tokenroof.catalog.dtypes import dtype
from tokenroof.catalog.model import FeedForward, Mixer, ModelSpec, Moe, Precision
from tokenroof.catalog.shapes import Projection, expert_projections, projections, vectors
from tokenroof.graph.core import Batch, Int, Parallel
from tokenroof.graph.ints import WIDE_BYTES, ceil_div, ceil_int, exact_bytes, high

_SPLIT_VECTORS = frozenset({"conv", "decay", "sinks"})
"""Small vectors that follow the heads of their rank; norms and biases of routers are on every rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One GEMM of a layer as it is on one chip: fused projections that read the same input.

    Attributes
    ----------
    name : str
        The ``gemm`` of its projections.
    n, k : int
        Output and input features on this chip (of all ``batch`` matrices together for ``n``).
    in_features : int
        Input features read per token: ``k`` unless every one of a batch has its own slice.
    weight_dtype, act_dtype : str
        Formats of weights and inputs.
    reduced : bool
        The output is a partial sum over the tensor parallel ranks.
    bias_elements : int
        Elements of its bias on this chip.
    """

    name: str
    n: int
    k: int
    in_features: int
    weight_dtype: str
    act_dtype: str
    reduced: bool
    bias_elements: int

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights on this chip, bias not included. [bytes]"""
        return exact_bytes(self.weight_dtype, self.n * self.k)


def gemm_input_dtype(weight_dtype: str, activations: str) -> str:
    """Format a GEMM reads its input in: 16 bit beside weights that compute in 16 bit.

    Weight-only formats (int4, w4a16_mxfp4) and unquantised weights take 16-bit inputs whatever
    ``activations`` says.
    """
    return "bf16" if dtype(weight_dtype).compute == "bf16" else activations


def local_shape(projection: Projection, ways: int) -> tuple[int, int, int]:
    """``(n, k, batch)`` of ``projection`` on one of ``ways`` tensor parallel ranks.

    Whole units (heads, groups) go to ranks: with more ranks than units each holds one unit, and
    with a number of units that ``ways`` does not divide the busiest rank rounds up.
    """
    n, k, batch = projection.n, projection.k, projection.batch
    if projection.shard == "replicated" or ways == 1:
        return n, k, batch
    units = ceil_int(projection.units, ways)
    if batch > 1:
        return n, k, ceil_int(batch, ways)
    if projection.shard == "column":
        return n // projection.units * units, k, batch
    return n, k // projection.units * units, batch


def fuse(found: Iterable[Projection], ways: int, weights: str, activations: str) -> tuple[Matrix, ...]:
    """The GEMMs that engines run for these projections on one rank, in order of execution.

    Projections of one ``gemm`` become one matrix; those kept in 16 bit run apart from quantised ones.
    """
    groups: dict[tuple[str, bool], list[Projection]] = {}
    for projection in found:
        groups.setdefault((projection.gemm, projection.high_precision), []).append(projection)
    out = []
    for (gemm, wide), members in groups.items():
        shapes = [local_shape(member, ways) for member in members]
        weight_dtype = "bf16" if wide else weights
        out.append(
            Matrix(
                name=gemm if not wide or (gemm, False) not in groups else f"{gemm}_16bit",
                n=sum(n * batch for n, _, batch in shapes),
                k=shapes[0][1],
                in_features=shapes[0][1] * shapes[0][2],
                weight_dtype=weight_dtype,
                act_dtype=gemm_input_dtype(weight_dtype, activations),
                reduced=any(member.shard == "row" for member in members) and ways > 1,
                bias_elements=sum(
                    n * batch for member, (n, _, batch) in zip(members, shapes, strict=True) if member.bias
                ),
            )
        )
    return tuple(out)


@lru_cache(maxsize=4096)
def matrices(layer: Mixer | FeedForward, hidden: int, ways: int, precision: Precision) -> tuple[Matrix, ...]:
    """Every GEMM of ``layer`` but the routed experts, as it is on one of ``ways`` ranks."""
    return fuse(projections(layer, hidden), ways, precision.weights, precision.activations)


@lru_cache(maxsize=4096)
def local_vectors(layer: Mixer | FeedForward, hidden: int, ways: int) -> Mapping[str, int]:
    """Elements on one rank of every vector that is no matrix multiply."""
    return {
        name: ceil_int(count, ways) if name in _SPLIT_VECTORS else count
        for name, count in vectors(layer, hidden).items()
    }


@lru_cache(maxsize=4096)
def small_bytes(layer: Mixer | FeedForward, hidden: int, ways: int, precision: Precision) -> int:
    """Bytes of biases and vectors of one layer on one rank, in 16 bit. [bytes]"""
    biases = sum(matrix.bias_elements for matrix in matrices(layer, hidden, ways, precision))
    return WIDE_BYTES * (biases + sum(local_vectors(layer, hidden, ways).values()))


def _share(total: Int, seqs: Int, rank_seqs: Int) -> Int:
    """What ``rank_seqs`` of ``seqs`` sequences of mean size hold of ``total``, rounded up."""
    return ceil_div(total * rank_seqs, high(seqs, 1))


def rank_batch(batch: Batch, parallel: Parallel) -> Batch:
    """What the busiest data parallel rank of the replica processes in this step.

    Parameters
    ----------
    batch : Batch
        The step of the whole replica.
    parallel : Parallel
        Its sharding; only ``dp`` matters here.

    Returns
    -------
    Batch
        A rank holds whole sequences: ``ceil(seqs / dp)`` of them, of mean length (exact for uniform
        batches), so one prompt alone keeps one rank busy and the others idle.
    """
    if parallel.dp == 1:
        return batch
    decode = ceil_div(batch.decode_seqs, parallel.dp)
    prefill = ceil_div(batch.prefill_seqs, parallel.dp)

    def prompt(total: Int) -> Int:
        return _share(total, batch.prefill_seqs, prefill)

    return Batch(
        decode_seqs=decode,
        decode_context_tokens=_share(batch.decode_context_tokens, batch.decode_seqs, decode),
        decode_tokens=batch.decode_tokens,
        prefill_seqs=prefill,
        prefill_tokens=prompt(batch.prefill_tokens),
        prefill_past_tokens=prompt(batch.prefill_past_tokens),
        prefill_pairs=prompt(batch.prefill_pairs),
        prefill_logits=prompt(batch.prefill_logits),
        image_tokens=prompt(batch.image_tokens),
    )


_ALIGNMENT = {"fp8_block": 128, "int4": 128}
"""Inputs and outputs of one scale: a rank must hold whole groups. Microscaled formats are padded."""

_MOST_WAYS = 1024
"""Most ways of one kind that are tried when a legal one is looked for."""

_REPLICATING = frozenset({"k", "v", "bc", "index_q"})
"""Projections whose units are copied when there are more ranks than units."""

_UNIT_NAMES = {
    "q": "query heads",
    "q_b": "query heads",
    "k": "key-value heads",
    "v": "key-value heads",
    "bc": "state groups",
    "o_a": "output groups",
    "gate": "neurons of a feed-forward",
    "up": "neurons of a feed-forward",
    "shared_gate": "neurons of the shared experts",
    "shared_up": "neurons of the shared experts",
}


def sharding_problem(model: ModelSpec, parallel: Parallel, precision: Precision | None = None) -> str | None:
    """Why ``model`` cannot be cut this way, or None when it can.

    Parameters
    ----------
    model : ModelSpec
        What is cut.
    parallel : Parallel
        How.
    precision : Precision or None
        Formats, whose blocks of shared scales must stay whole; None = those of the model.

    Returns
    -------
    str or None
        What clashes, and the nearest legal values of the field that does.
    """
    formats = precision or model.precision
    for field, text in _problems(model, parallel, formats):
        legal = _nearest_legal(model, parallel, formats, field)
        return f"{field}={getattr(parallel, field)} {text} ({model.name}). {legal}"
    return None


def _nearest_legal(model: ModelSpec, parallel: Parallel, formats: Precision, field: str) -> str:
    """The closest values of ``field`` without a problem of their own, and an ``ep`` that helps as well."""
    given = getattr(parallel, field)
    most = min(max(2 * given, parallel.stage_chips), _MOST_WAYS)

    def legal(value: int) -> bool:
        candidate = replace(parallel, **{field: value})
        return all(name != field for name, _ in _problems(model, candidate, formats))

    below = next((value for value in range(min(given - 1, most), 0, -1) if legal(value)), None)
    above = next((value for value in range(given + 1, most + 1) if legal(value)), None)
    found = [f"{field}={value}" for value in (below, above) if value is not None]
    if field != "ep":
        ways = range(min(parallel.stage_chips, _MOST_WAYS), 1, -1)
        layouts = (replace(parallel, ep=value) for value in ways if parallel.stage_chips % value == 0)
        better = next((one.ep for one in layouts if next(_problems(model, one, formats), None) is None), None)
        found += [f"ep={better}"] if better is not None else []
    return f"Use {' or '.join(found)}." if found else f"No {field} up to {most} works."


def _problems(model: ModelSpec, parallel: Parallel, formats: Precision) -> Iterator[tuple[str, str]]:
    """``(field, clash)`` of every rule that is broken, most basic first."""
    if parallel.pp > model.num_layers:
        yield "pp", f"exceeds the {model.num_layers} layers"
    layers = list(
        dict.fromkeys(
            layer
            for group in model.layers
            for layer in (*group.mixers, *((group.ffn,) if group.ffn is not None else ()))
        )
    )
    for layer in layers:
        for projection in projections(layer, model.hidden):
            yield from _tp_problems(projection, parallel.tp, formats.weights)
    experts = [layer for layer in layers if isinstance(layer, Moe)]
    if parallel.ep > 1 and not experts:
        yield "ep", "needs routed experts, but there are none in the layers"
    if parallel.stage_chips % parallel.ep:
        yield "ep", f"does not divide the {parallel.stage_chips} chips of a stage (tp * dp * cp)"
        return
    for moe in experts:
        if moe.num_experts % parallel.ep:
            yield "ep", f"does not divide the {moe.num_experts} experts"
        field = "ep" if parallel.tp == 1 else "tp"
        for projection in expert_projections(moe, model.hidden):
            clash = _split_problem(projection, parallel.expert_tp, formats.experts)
            if clash:
                yield field, f"splits each expert {parallel.expert_tp} ways, which {clash}"


def _tp_problems(projection: Projection, tp: int, weight_dtype: str) -> Iterator[tuple[str, str]]:
    clash = _split_problem(projection, tp, weight_dtype)
    if clash:
        yield "tp", clash


def _split_problem(projection: Projection, ways: int, weight_dtype: str) -> str | None:
    """Why ``projection`` cannot be split ``ways`` ways; whole units replicate when ``ways`` is a multiple."""
    units = projection.units
    if projection.shard == "replicated" or ways == 1:
        return None
    replicates = projection.name in _REPLICATING and ways % units == 0
    if units % ways and not replicates:
        return (
            f"does not divide the {units} {_UNIT_NAMES.get(projection.name, 'units of ' + projection.name)}"
        )
    block = _ALIGNMENT.get(weight_dtype, 1)
    feed_forward = projection.name.removeprefix("shared_").removeprefix("dense_") in ("gate", "up")
    if projection.high_precision or not (projection.shard == "row" or feed_forward):
        return None
    n, k, _ = local_shape(projection, ways)
    split = k if projection.shard == "row" else n
    if split % block:
        side = "inputs" if projection.shard == "row" else "outputs"
        return f"leaves {split} {side} of {projection.name}, no multiple of {block} as {weight_dtype} asks"
    return None
