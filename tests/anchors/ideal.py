"""Machines and models of the back of an envelope: every efficiency perfect, every floor zero.

The published answers in this folder were worked out with a roofline and nothing else. Here the same
operators and formulas run on machines whose fitted parameters are set to their ideal values.
"""

from __future__ import annotations

from dataclasses import replace

from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.efficiency import EfficiencySet, OpEfficiency
from tokenroof.catalog.model import Attention, DenseMlp, LayerGroup, ModelSpec, Precision
from tokenroof.perf.borrow import shipped_rows
from tokenroof.perf.core import Machine, Net, Tier

# What each fitted parameter is on a perfect chip. A name that is missing here fails the tests: a new
# parameter must say what perfection means.
PERFECT = {
    "compute_fraction": 1.0,
    "memory_fraction": 1.0,
    "launch_s": 0.0,
    "step_s": 0.0,
    "reduce_s": 0.0,
    "head_s": 0.0,
    "tile_s": 0.0,
    "chunk_s": 0.0,
    "expert_s": 0.0,
    "fill_fraction": 1e-9,
    "tile_exponent": 0.0,
    "sharpness": 16.0,  # a maximum to 1e-5 where the two sides differ by half; a power of two
    "split_ways": 1.0,
    "quantise_fraction": 1e9,
    "ragged_fraction": 0.0,
    "chain_weight": 0.0,
    "min_rows": 1.0,
    "least_rows": 1.0,
    "max_rows": 1e9,
    "ungrouped_cost": 1.0,
    "kv_passes": 1.0,
    "activation_passes": 1.0,
    "cached_speedup": 1.0,
    "cached_scale": 1.0,
    "split_tokens": 256.0,
    "width_step": 1.0,
}
KERNELS = (
    "gemm",
    "moe",
    "attention_decode",
    "attention_prefill",
    "mla_decode",
    "mla_prefill",
    "recurrent_decode",
    "recurrent_prefill",
    "elementwise",
    "index_score",
)
FREE = 1e12
"""A rate so high that what it carries takes no time: envelopes leave element-wise traffic out."""


def perfect(row: OpEfficiency) -> OpEfficiency:
    ideal = {name: PERFECT[name] for name in row.parameters}
    if row.op == "elementwise":
        ideal["memory_fraction"] = FREE
    return replace(row, parameters=ideal)


def ideal_machine(
    *, flop_per_s: float, bytes_per_s: float, scale_up: Net | None = None, exposed: float = 0.0
) -> Machine:
    """One chip with one memory and one compute unit; collectives cost nothing unless exposed."""
    rows = shipped_rows("h100", "", "hopper", "vllm", "")
    kept = {key: perfect(row) for key, row in rows.rows.items() if row.op in KERNELS}
    return Machine(
        name="ideal",
        peak_flop_per_s={"bf16": flop_per_s},
        compute_units=1.0,
        cache_bytes=0.0,
        tiers=(Tier(name="hbm", bandwidth_bytes_per_s=bytes_per_s, energy_j_per_byte=0.0),),
        placement=dict.fromkeys(OperandKind, "hbm"),
        scale_up=scale_up,
        scale_out=None,
        efficiency=EfficiencySet(rows=kept, borrowed=()),
        idle_w=0.0,
        tdp_w=1.0,
        energy_j_per_flop={"bf16": 0.0},
        step_overhead_s=0.0,
        exposed_collective_fraction=exposed,
    )


def network(*, sync_s: float, chips: int) -> Net:
    """A crossbar on which every collective takes ``sync_s``, whatever its size."""
    return Net(
        name="sync",
        topology="nvswitch",
        domain_size=chips,
        bandwidth_bytes_per_s=1e18,
        hop_latency_s=0.0,
        software_latency_s=sync_s,
        energy_j_per_byte=0.0,
    )


def even_model(
    *, layers: int, hidden: int, heads: int, kv_heads: int, head_dim: int, parameters: float, vocab: int
) -> ModelSpec:
    """A dense model of ``parameters`` streamed weights whose feed-forward takes what attention leaves.

    The token table is apart: a step gathers rows of it and does not stream it.
    """
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    per_layer = (parameters - vocab * hidden) / layers - attention
    width = round(per_layer / (3 * hidden) / 128) * 128
    mixer = Attention(num_heads=heads, num_kv_heads=kv_heads, head_dim=head_dim, v_head_dim=head_dim)
    group = LayerGroup(
        count=layers, mixers=(mixer,), ffn=DenseMlp(intermediate=width), norm_parameters=2 * hidden
    )
    return ModelSpec(
        name="envelope",
        hf_id="",
        architecture="",
        hidden=hidden,
        vocab=vocab,
        tied_embeddings=False,
        layers=(group,),
        max_context_tokens=1_000_000,
        precision=Precision(),
        source="",
    )
