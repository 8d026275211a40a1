"""Estimates written by hand: plausible numbers, no formula of the package behind them."""

from tokenroof.catalog.core import Chip, Claim, Engine, Fabric, MemoryTier, OperandKind, Quantity
from tokenroof.catalog.model import Attention, DenseMlp, LayerGroup, ModelSpec, Precision
from tokenroof.deploy.core import (
    Capacity,
    CapacityItem,
    Deployment,
    Estimate,
    Infeasible,
    Metric,
    OpRow,
    Phase,
    Pool,
)
from tokenroof.graph.core import Parallel
from tokenroof.workload.core import RequestShape

DEFINITIONS = {
    "prefill_s": ("s", "Time of one prompt's prefill step."),
    "ttft_s": ("s", "Arrival to first token without queueing."),
    "tpot_s": ("s", "(e2e - ttft) / (osl - 1)."),
    "e2e_s": ("s", "ttft + (osl - 1) * tpot."),
    "output_tokens_per_s_per_chip": ("tokens/s", "Output tokens per second over all chips."),
    "output_tokens_per_s_per_user": ("tokens/s", "1 / tpot."),
    "requests_per_s": ("1/s", "Completed requests per second."),
    "max_batch": ("sequences", "Sequences of the asked lengths that fit."),
    "usd_per_hour": ("USD/h", "Price of the whole deployment."),
    "usd_per_mtok_output": ("USD/Mtok", "Cost of a million output tokens."),
    "energy_j_per_output_token": ("J/token", "Energy over output tokens."),
    "gco2e_per_mtok_operational": ("gCO2e/Mtok", "Grid carbon of a million output tokens."),
}


def quantity(value: float, unit: str, note: str = "") -> Quantity:
    return Quantity(value=value, unit=unit, source="by-hand", claim=Claim.DATASHEET, note=note)


def chip(name: str, *, bf16: float, fp8: float, bandwidth: float, capacity: float, tiers: int = 1) -> Chip:
    kinds = tuple(OperandKind)
    tier = MemoryTier(
        name="hbm",
        technology="hbm3",
        marketed_capacity_bytes=quantity(capacity, "bytes"),
        usable_capacity_bytes=quantity(capacity * 0.99, "bytes"),
        bandwidth_bytes_per_s=quantity(bandwidth, "bytes/s"),
        holds=kinds if tiers == 1 else kinds[1:],
        energy_j_per_byte=quantity(3e-11, "J/byte"),
    )
    flash = MemoryTier(
        name="hbf",
        technology="hbf",
        marketed_capacity_bytes=quantity(4e12, "bytes"),
        usable_capacity_bytes=quantity(3.9e12, "bytes"),
        bandwidth_bytes_per_s=quantity(1.6e12, "bytes/s"),
        holds=kinds[:1],
        energy_j_per_byte=quantity(5e-11, "J/byte"),
    )
    return Chip(
        name=name,
        title=name.upper(),
        vendor="nobody",
        year=2023,
        family="hopper",
        relative="",
        peak_flop_per_s={"bf16": quantity(bf16, "flop/s"), "fp8": quantity(fp8, "flop/s")},
        compute_units=132,
        cache_bytes=5e7,
        memory=(tier,) if tiers == 1 else (tier, flash),
        scale_up=Fabric(
            name="nvlink4",
            link="nvlink4",
            topology="nvswitch",
            domain_size=8,
            bandwidth_bytes_per_s=quantity(4.5e11, "bytes/s"),
            hop_latency_s=quantity(1e-6, "s"),
            software_latency_s=quantity(5e-6, "s"),
            energy_j_per_byte=quantity(1e-11, "J/byte"),
        ),
        scale_out=None,
        host_link_bytes_per_s=None,
        tdp_w=quantity(700, "W"),
        all_in_power_w=None,
        die_area_mm2=None,
        embodied_kgco2e=None,
        prices_usd_per_hour={"cloud_median": quantity(2.5, "USD/h")},
        node="hgx",
        projection=tiers > 1,
    )


ENGINE = Engine(
    name="vllm",
    budget_rule="utilization",
    memory_fraction=0.9,
    block_tokens=16,
    max_num_batched_tokens=8192,
    max_num_seqs=256,
    chunked_prefill=True,
    step_overhead_s=quantity(1e-3, "s"),
    context_bytes=quantity(6e8, "bytes"),
    graph_bytes=quantity(1e9, "bytes"),
    runtime_bytes=quantity(0.0, "bytes"),
    communicator_bytes=quantity(0.0, "bytes"),
    sampler_bytes_per_logit=quantity(0.0, "bytes"),
    exposed_collective_fraction=quantity(1.0, "1"),
    kernels="vllm",
)

MODEL = ModelSpec(
    name="llama-3.3-70b",
    hf_id="meta-llama/Llama-3.3-70B-Instruct",
    architecture="LlamaForCausalLM",
    hidden=8192,
    vocab=128256,
    tied_embeddings=False,
    layers=(
        LayerGroup(
            count=80,
            mixers=(Attention(num_heads=64, num_kv_heads=8, head_dim=128, v_head_dim=128),),
            ffn=DenseMlp(intermediate=28672),
            norm_parameters=16384,
        ),
    ),
    max_context_tokens=131072,
    precision=Precision(),
    source="by-hand",
)

# name, kind, count, flop (one step), bytes, share of the phase, limit
PREFILL = (
    ("attn.qkv", "gemm", 80, 8.2e12, 4.5e9, 0.10, "compute"),
    ("attn.prefill", "attention", 80, 2.5e12, 3.0e9, 0.06, "compute"),
    ("attn.out", "gemm", 80, 6.5e12, 3.5e9, 0.08, "compute"),
    ("mlp.gate_up", "gemm", 80, 3.6e13, 1.1e10, 0.42, "compute"),
    ("mlp.down", "gemm", 80, 1.8e13, 5.5e9, 0.22, "compute"),
    ("norm", "elementwise", 161, 0.0, 1.1e10, 0.03, "memory:hbm"),
    ("comm.attn_allreduce", "collective", 80, 0.0, 0.0, 0.045, "network:nvlink4"),
    ("comm.mlp_allreduce", "collective", 80, 0.0, 0.0, 0.045, "network:nvlink4"),
)
DECODE = (
    ("attn.qkv", "gemm", 80, 5.4e11, 3.4e9, 0.09, "memory:hbm"),
    ("attn.decode", "attention", 80, 8.0e10, 5.9e9, 0.18, "memory:hbm"),
    ("attn.out", "gemm", 80, 4.3e11, 2.7e9, 0.08, "memory:hbm"),
    ("mlp.gate_up", "gemm", 80, 2.4e12, 1.9e10, 0.31, "memory:hbm"),
    ("mlp.down", "gemm", 80, 1.2e12, 9.4e9, 0.16, "memory:hbm"),
    ("norm", "elementwise", 161, 0.0, 2.0e8, 0.03, "latency"),
    ("head.logits", "gemm", 1, 3.4e10, 5.3e8, 0.01, "memory:hbm"),
    ("comm.attn_allreduce", "collective", 80, 0.0, 0.0, 0.05, "latency"),
    ("comm.mlp_allreduce", "collective", 80, 0.0, 0.0, 0.05, "latency"),
)


def phase(
    name: str, time_s: float, peak: float, rows: tuple[tuple[str, str, int, float, float, float, str], ...]
) -> Phase:
    ops = tuple(
        OpRow(
            name=op,
            kind=kind,
            count=count,
            time_s=share * time_s,
            share_fraction=share,
            limit=limit,
            flop=flop,
            bytes=bytes_,
            message_bytes=2.6e9 if kind == "collective" else 0.0,
            intensity_flop_per_byte=flop / bytes_ if bytes_ else 0.0,
            achieved_flop_per_s=flop / (share * time_s),
            peak_flop_per_s=peak,
            energy_j=share * time_s * 400,
        )
        for op, kind, count, flop, bytes_, share, limit in rows
    )
    by_limit: dict[str, float] = {}
    for op in ops:
        by_limit[op.limit] = by_limit.get(op.limit, 0.0) + op.time_s
    by_limit["host"] = time_s - sum(by_limit.values())
    limit = max(by_limit, key=lambda key: by_limit[key])
    return Phase(
        name=name,
        time_s=time_s,
        limit=limit,
        by_limit_s=by_limit,
        ops=ops,
        mfu_fraction=0.5 if name == "prefill" else 0.02,
        mbu_fraction=0.1 if name == "prefill" else 0.7,
        energy_j=time_s * 4 * 500,
    )


def estimate(
    name: str = "h100",
    *,
    speed: float = 1.0,
    tp: int = 4,
    fits: bool = True,
    tiers: int = 1,
    concurrency: int = 32,
) -> Estimate:
    """A plausible answer; ``speed`` scales every rate."""
    hardware = chip(
        name,
        bf16=9.9e14 * speed,
        fp8=1.98e15 * speed,
        bandwidth=3.35e12 * speed,
        capacity=8e10 * speed,
        tiers=tiers,
    )
    pool = Pool(chip=hardware, engine=ENGINE, parallel=Parallel(tp=tp))
    deployment = Deployment(model=MODEL, precision=Precision(), pools=(pool,))
    values = {
        "prefill_s": 0.2 / speed,
        "ttft_s": 0.21 / speed,
        "tpot_s": 0.018 * concurrency**0.2 / 2 / speed,
        "e2e_s": 9.2 / speed,
        "output_tokens_per_s_per_chip": 430 * speed * (concurrency / 32) ** 0.8,
        "output_tokens_per_s_per_user": 55 * speed * (32 / concurrency) ** 0.2,
        "requests_per_s": 3.4 * speed,
        "max_batch": 211.0,
        "usd_per_hour": 10.0,
        "usd_per_mtok_output": 1.6 / speed,
        "energy_j_per_output_token": 1.5,
        "gco2e_per_mtok_operational": 190.0,
    }
    capacity = Capacity(
        items=(
            CapacityItem(name="weights", bytes=3.53e10, tier="hbm"),
            CapacityItem(name="activations", bytes=1.2e9, tier="hbm"),
            CapacityItem(name="graphs", bytes=1.0e9, tier="hbm"),
            CapacityItem(name="context", bytes=6e8, tier="hbm"),
            CapacityItem(name="reserve", bytes=7.9e9, tier="hbm", note="1 - memory_fraction"),
            CapacityItem(name="kv", bytes=3.3e10, tier="hbm"),
        ),
        kv_blocks=25_000,
        block_tokens=16,
        kv_bytes_per_token=81_920.0,
        state_bytes_per_sequence=0.0,
        max_batch=211,
    )
    need = Infeasible(
        reason=f"does not fit: weights 141.1 GB > 79.2 GB usable on 1 x {name}. Try --tp 4.",
        need=1.411e11,
        have=7.92e10,
        unit="bytes",
    )
    return Estimate(
        deployment=deployment,
        shape=RequestShape(isl_tokens=2000, osl_tokens=500),
        concurrency=concurrency,
        metrics={
            key: Metric(value=values[key], unit=unit, definition=text, low=None, high=None)
            for key, (unit, text) in DEFINITIONS.items()
        }
        if fits
        else {},
        phases={
            "prefill": phase("prefill", 0.2 / speed, 9.9e14 * speed, PREFILL),
            "decode": phase("decode", 0.018 / speed, 9.9e14 * speed, DECODE),
        }
        if fits
        else {},
        capacity=capacity if fits else None,
        infeasible=None if fits else need,
        assumptions=("kernel efficiencies of h100 stand in for the missing ones.",),
        sources=("by-hand: numbers written for tests",),
        evidence=("measured" if tiers == 1 else "sketch") if fits else "",
        grounded=fits and tiers == 1,
    )


def several() -> tuple[Estimate, ...]:
    """Four chips: one does not fit, one is a projection with two tiers."""
    return (
        estimate("h100"),
        estimate("h200", speed=1.35),
        estimate("h200-hbf", speed=1.2, tiers=2),
        estimate("tpu-v6e", fits=False, tp=1),
    )
