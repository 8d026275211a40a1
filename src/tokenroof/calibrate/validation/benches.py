"""Limits that a benchmark client sets for the server it starts, where a row says none."""

from __future__ import annotations

import math

from tokenroof.catalog.core import OperandKind
from tokenroof.catalog.counting import parameters
from tokenroof.catalog.model import Attention, ModelSpec, Precision
from tokenroof.deploy.capacity import tier_of
from tokenroof.deploy.core import Pool
from tokenroof.deploy.simulated.engines.trtllm import TrtllmOptions

_WEIGHT_BYTES = {"fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5}
"""Bytes per parameter of the formats that the heuristic knows; it takes two for every other one."""

_GRAPHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8192)
"""Batches of the options file of TensorRT-LLM's performance overview; padding is on there."""

_FRACTION = 0.9
"""``kv_cache_free_gpu_mem_fraction``: 0.9 by default, 0.95 in many rows of the overview."""


def trtllm_bench(
    pool: Pool, model: ModelSpec, precision: Precision, isl: float, osl: float
) -> TrtllmOptions | None:
    """What ``trtllm-bench throughput`` starts its engine with, without limits of the user.

    The rule of ``bench/build/tuning.py`` (``calc_engine_setting``, ``finetune_setting``) and of
    ``bench/benchmark/utils/general.py`` (``get_settings``): the batch that an estimate of the cache holds,
    the tokens of a step that keep it full, rounded up; prompts are not split, so that a step takes one at
    least. Latent attention is left out: the published runs of DeepSeek-R1 are twice as fast as the batch
    that its estimate of two full heads per layer would admit.

    Parameters
    ----------
    pool : Pool
        Chip and sharding.
    model, precision : ModelSpec, Precision
        What is served.
    isl, osl : float
        Mean prompt and answer. [tokens]

    Returns
    -------
    TrtllmOptions or None
        None where the client refuses to estimate and asks for limits: the engine's defaults hold.
    """
    parallel = pool.parallel
    ranks = parallel.tp * parallel.dp
    chips = ranks * parallel.pp
    cached = _cached(model)
    if cached is None:
        return None
    heads, width = cached
    kv_bytes = 1.0 if precision.kv == "fp8" else 2.0
    token_bytes = 2.0 * model.num_layers * max(ranks, heads) * width * kv_bytes
    weights = parameters(model) * _WEIGHT_BYTES.get(precision.experts, 2.0)
    total = tier_of(pool.chip, OperandKind.KV).usable_capacity_bytes.value * chips
    held = (total - weights) * _FRACTION / (token_bytes * (isl + osl))
    if held < 1.0:
        return None
    batch = min(held, 4096.0) / parallel.pp
    tokens = min(batch * (1.0 + isl / osl), 32768.0)
    most = _batch(batch)
    return TrtllmOptions(
        # The limit holds for each micro-batch of a pipeline.
        max_batch_size=most * parallel.pp,
        max_num_tokens=max(_tokens(tokens), math.ceil(isl) + most),
        enable_chunked_context=False,
        enable_block_reuse=False,
        cuda_graph_padding_enabled=True,
        cuda_graph_batch_sizes=(*(size for size in _GRAPHS if size < most), most),
    )


def _cached(model: ModelSpec) -> tuple[int, int] | None:
    """Heads and width of a head of the cache; None for latent attention."""
    mixers = (mixer for group in model.layers for mixer in group.mixers)
    found = next((mixer for mixer in mixers if isinstance(mixer, Attention)), None)
    return None if found is None else (found.num_kv_heads, found.head_dim)


def _batch(raw: float) -> int:
    """At least 64, in steps of 32, 128 or 256."""
    if raw < 256.0:
        return max(64, 32 * math.ceil(raw / 32.0))
    step = 128 if raw < 1024.0 else 256
    return step * math.ceil(raw / step)


def _tokens(raw: float) -> int:
    """At least 2048, in steps of 256, 512 or 1024."""
    if raw < 4096.0:
        return max(2048, 256 * math.ceil(raw / 256.0))
    step = 512 if raw < 8192.0 else 1024
    return step * math.ceil(raw / step)
