"""Operators of mixtures of experts: router, routed and shared experts, and the messages between.

Where experts live: ``ep`` ways split the experts over the ``tp * dp * cp`` chips of a stage, what is
left of those chips (``expert_tp``) splits each expert's width. How tokens get there:

* ``dp = cp = 1``: every rank has all tokens; partial sums meet in the all-reduce of the layer.
* ``ep = 1``: an all-gather brings the tokens of all ranks, a reduce-scatter returns their sums.
* otherwise: an all-to-all dispatches each token to the ranks that own its experts, another one
  combines the results.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from tokenroof.catalog.model import Moe
from tokenroof.catalog.shapes import expert_projections
from tokenroof.graph.comms import collective, tp_allgather, tp_allreduce
from tokenroof.graph.core import Int, MoeExperts, Num, Op, Work
from tokenroof.graph.ints import (
    WIDE_BYTES,
    ceil_div,
    ceil_int,
    exact_bytes,
    present,
    rounded,
    tensor_bytes,
)
from tokenroof.graph.mlp import dense_ops
from tokenroof.graph.sharding import fuse, gemm_input_dtype
from tokenroof.graph.step import Step, elementwise, gemm


def local_experts(layer: Moe, ep: int) -> int:
    """Routed experts on one chip."""
    return ceil_int(layer.num_experts, ep)


def expert_bytes(layer: Moe, hidden: int, ways: int, weight_dtype: str) -> int:
    """Bytes of one routed expert on one of ``ways`` chips that share it, biases included. [bytes]"""
    found = fuse(expert_projections(layer, hidden), ways, weight_dtype, weight_dtype)
    return sum(
        exact_bytes(weight_dtype, matrix.n * matrix.k) + WIDE_BYTES * matrix.bias_elements for matrix in found
    )


def active_experts(tokens: Int, local: int, topk: int, num_experts: int, skew: float = 0.0) -> Num:
    """Expected number of a rank's ``local`` experts that at least one of ``tokens`` tokens chose.

    Parameters
    ----------
    tokens : int or array of int
        Tokens, independent of one another.
    local, topk, num_experts : int
        Experts on this chip (any of all), those that a token chooses, all of them.
    skew : float
        Popularity of the i-th expert falls as i to minus this; 0: each token misses an expert with
        probability ``1 - topk / num_experts``, and all ranks are alike.

    Returns
    -------
    float or array
        An expectation, hence not an integer. With a skew, of the rank that has most: of the experts that
        were chosen each rank owns a hypergeometric number, and all wait for the largest of them.
    """
    if skew == 0.0:
        missed = 1.0 - topk / num_experts
        if isinstance(tokens, int):
            return local * (1.0 - missed**tokens)
        return local * (1.0 - missed ** tokens.astype(np.float64))
    share = local / num_experts
    counts: Num = tokens if isinstance(tokens, int) else tokens.astype(np.float64)
    hit: Num = 0.0
    for size, chosen in _popularity_groups(num_experts, topk, skew):
        hit = hit + size * (1.0 - (1.0 - chosen) ** counts)
    chosen_fraction = hit / num_experts
    spread = np.sqrt(
        local * chosen_fraction * (1.0 - chosen_fraction) * (1.0 - share) / (1.0 - 1.0 / num_experts)
    )
    found: Num = np.minimum(share * hit + _largest_of(num_experts // local) * spread, local)
    return float(found) if isinstance(tokens, int) else found


@lru_cache(maxsize=64)
def _largest_of(ranks: int) -> float:
    """Expected largest of so many standard normal numbers (Blom 1958)."""
    return NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25)) if ranks > 1 else 0.0


_GROUPS = 24
"""Experts of like popularity are counted together; 24 groups of 384 experts are within 0.2 % of the sum."""


@lru_cache(maxsize=256)
def _popularity_groups(num_experts: int, topk: int, skew: float) -> tuple[tuple[int, float], ...]:
    """Number of experts and mean probability of groups of neighbours, most popular first."""
    chosen = np.array(choice_probabilities(num_experts, topk, skew))
    edges = np.unique(np.rint(np.geomspace(1, num_experts + 1, _GROUPS + 1)).astype(int)) - 1
    return tuple((int(high - low), float(chosen[low:high].mean())) for low, high in pairwise(edges))


@lru_cache(maxsize=256)
def choice_probabilities(num_experts: int, topk: int, skew: float) -> tuple[float, ...]:
    """Probability that a token has the i-th most popular expert among its ``topk``, which they sum to.

    Proportional to i to minus ``skew``, but never above 1: what a certain expert cannot take goes to the
    others.
    """
    weight = np.arange(1, num_experts + 1, dtype=np.float64) ** -skew
    chosen = np.zeros(num_experts)
    certain = np.zeros(num_experts, dtype=bool)
    while True:
        open_places = topk - int(certain.sum())
        free = np.where(certain, 0.0, weight)
        if open_places <= 0 or free.sum() == 0.0:
            chosen = certain.astype(np.float64)
            break
        chosen = np.where(certain, 1.0, open_places * free / free.sum())
        if chosen.max() <= 1.0:
            break
        certain |= chosen >= 1.0
    return tuple(chosen.tolist())


def destination_ranks(layer: Moe, ep: int) -> float:
    """Expected number of distinct ranks among the ``topk`` experts of a token.

    A dispatch sends a token once to each rank that owns one of its experts (hypergeometric: distinct
    experts, uniformly chosen).
    """
    local = local_experts(layer, ep)
    none = math.comb(layer.num_experts - local, layer.topk) / math.comb(layer.num_experts, layer.topk)
    return min(ep, layer.num_experts // local) * (1.0 - none)


def moe_ops(layer: Moe, count: int, step: Step) -> list[Op]:
    """Everything between the norm before and the residual after, of ``count`` identical layers."""
    found = {matrix.name: matrix for matrix in step.matrices(layer)}
    small = step.small_bytes(layer)
    ops: list[Op] = []
    for name in ("router", "latent_down"):
        if name in found:
            ops += gemm(f"moe.{name}", count, step.tokens, found[name])
    ops += elementwise(
        "moe.route", count, step.tokens, 2 * layer.num_experts + 2 * layer.topk, weights_bytes=small
    )
    before, after = _messages(layer, count, step)
    ops += before
    ops += _experts(layer, count, step)
    ops += after
    if "latent_up" in found:
        ops += gemm("moe.latent_up", count, step.tokens, found["latent_up"])
    for prefix in ("shared", "dense"):
        pair = tuple(matrix for name, matrix in found.items() if name in _mlp_names(prefix))
        if pair:
            ops += dense_ops("moe", pair, count, step, small_bytes=0)
    if layer.shared_intermediate or layer.parallel_dense_intermediate:
        ops += elementwise("moe.add", count, step.tokens, 3 * step.model.hidden)
    if "shared_weight" in found:
        ops += gemm("moe.shared_weight", count, step.tokens, found["shared_weight"])
    ops += _reduction(layer, count, step)
    return ops


def _mlp_names(prefix: str) -> tuple[str, ...]:
    return (f"{prefix}_gate_up", f"{prefix}_up", f"{prefix}_down")


def _experts(layer: Moe, count: int, step: Step) -> list[Op]:
    """Both grouped GEMMs of one rank with the activation between and the weighted sum after.

    Work: ``flop`` and activations are those of the busiest rank (``hot_factor`` times the mean share
    of the routed rows, rounded up); ``weights_bytes`` is the expected number of bytes of experts that
    at least one token chose, rounded to whole bytes.
    """
    tokens = step.whole.tokens
    if not present(tokens):
        return []
    parallel, hidden = step.parallel, step.model.hidden
    local = local_experts(layer, parallel.ep)
    width = layer.latent_dim or hidden
    intermediate = ceil_int(layer.intermediate, parallel.expert_tp)
    weight_dtype = step.precision.experts
    act_dtype = gemm_input_dtype(weight_dtype, step.precision.expert_inputs)
    rows = ceil_div(tokens * (layer.topk * local), layer.num_experts)
    if step.hot_factor != 1.0:
        rows = rounded(np.ceil(np.asarray(rows) * step.hot_factor))
    gates = 2 if layer.gated else 1
    active = active_experts(tokens, local, layer.topk, layer.num_experts, layer.routing_skew)
    inputs = tensor_bytes(act_dtype, rows * (width + intermediate))
    outputs = rows * (WIDE_BYTES * (2 * gates * intermediate + intermediate + 2 * width))
    work = Work(
        flop=2 * rows * (gates + 1) * width * intermediate,
        weights_bytes=rounded(active * expert_bytes(layer, hidden, parallel.expert_tp, weight_dtype)),
        activation_bytes=inputs + outputs,
    )
    op = MoeExperts(
        name="moe.experts",
        count=count,
        work=work,
        tokens=tokens,
        hidden=width,
        intermediate=intermediate,
        num_experts=layer.num_experts,
        local_experts=local,
        topk=layer.topk,
        gated=layer.gated,
        weight_dtype=weight_dtype,
        act_dtype=act_dtype,
        hot_factor=step.hot_factor,
        routing_skew=layer.routing_skew,
    )
    return [op]


def _messages(layer: Moe, count: int, step: Step) -> tuple[list[Op], list[Op]]:
    """Messages before and after the routed experts."""
    parallel = step.parallel
    ranks = parallel.dp * parallel.cp
    if ranks == 1:
        return [], []
    width = layer.latent_dim or step.model.hidden
    act_dtype = gemm_input_dtype(step.precision.experts, step.precision.expert_inputs)
    if parallel.ep == 1:
        elements = step.whole.tokens * width
        return (
            [
                *collective(
                    "comm.moe_allgather",
                    count,
                    "all_gather",
                    tensor_bytes(act_dtype, elements),
                    ranks,
                    parallel.tp,
                )
            ],
            [
                *collective(
                    "comm.moe_reduce_scatter",
                    count,
                    "reduce_scatter",
                    WIDE_BYTES * elements,
                    ranks,
                    parallel.tp,
                )
            ],
        )
    # Tensor parallel ranks share the sending of their tokens; each expert shard needs a copy.
    # Under context parallelism every rank holds all decode tokens and sends its part of them.
    own = step.tokens if parallel.cp == 1 else ceil_div(step.whole.tokens, ranks)
    sent = ceil_div(own * parallel.expert_tp, parallel.tp)
    elements = sent * math.ceil(destination_ranks(layer, parallel.ep) * width)

    def exchange(name: str, message_bytes: Int) -> list[Op]:
        return [
            *collective(name, count, "all_to_all", message_bytes, parallel.ep, parallel.expert_tp),
        ]

    return (
        exchange("comm.moe_dispatch", tensor_bytes(act_dtype, elements)),
        exchange("comm.moe_combine", WIDE_BYTES * elements),
    )


def _reduction(layer: Moe, count: int, step: Step) -> list[Op]:
    """Sum over the tensor parallel ranks: partial outputs, or slices of tokens after an all-to-all."""
    parallel, hidden = step.parallel, step.model.hidden
    exchanged = parallel.ep > 1 and parallel.dp * parallel.cp > 1
    beside = layer.shared_intermediate or layer.parallel_dense_intermediate
    if exchanged and parallel.expert_tp == 1 and not beside:
        return [*tp_allgather(step, "comm.ffn_allgather", count, step.tokens, hidden)]
    return [*tp_allreduce(step, "comm.ffn_allreduce", count, hidden)]
