"""What is free in each operator's formula, where it starts and how far it may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TypeAlias

Bounds: TypeAlias = tuple[float, float, float]
"""Start, low, high."""

NEVER = 1e9
QUANTISED = ("fp8", "fp8_block", "nvfp4", "sq")
"""Formats whose activations pass through a kernel of their own."""

_CACHED: Mapping[str, Bounds] = {"cached_speedup": (3, 1, 10), "cached_scale": (0.8, 0.2, 3)}
_DECODE: Mapping[str, Bounds] = {
    "compute_fraction": (0.3, 0.02, 1.1),
    "memory_fraction": (0.85, 0.1, 1.0),
    "launch_s": (9e-6, 1e-7, 2e-4),
    "sharpness": (4, 1, 20),
    "fill_fraction": (0.4, 0.02, 4),
    "split_tokens": (256, 32, 1e6),
    "reduce_s": (8e-7, 1e-9, 1e-5),
    "head_s": (5e-10, 1e-13, 1e-8),
}
_PREFILL: Mapping[str, Bounds] = {
    "compute_fraction": (0.55, 0.02, 1.1),
    "memory_fraction": (0.4, 0.05, 1.0),
    "launch_s": (1e-5, 1e-7, 2e-4),
    "sharpness": (1.3, 0.7, 20),
    "chain_weight": (1, 0.01, 3),
    "tile_s": (1e-9, 1e-13, 6e-8),
}
_TILED: Mapping[str, Bounds] = {
    "compute_fraction": (0.6, 0.02, 1.1),
    "memory_fraction": (0.85, 0.1, 1.0),
    "sharpness": (3, 1, 20),
}

FREE: Mapping[str, Mapping[str, Bounds]] = {
    "gemm": {
        **_TILED,
        "launch_s": (4e-6, 1e-7, 1e-4),
        "tile_exponent": (0.05, 1e-3, 1),
        "fill_fraction": (0.4, 0.02, 2),
        "step_s": (2e-7, 1e-9, 2e-6),
        "ragged_fraction": (0.05, 1e-3, 0.8),
        "quantise_fraction": (0.6, 0.1, 1.0),
    },
    "attention_decode": {**_DECODE, **_CACHED, "ungrouped_cost": (1.5, 0.05, 300)},
    "attention_prefill": {**_PREFILL, **_CACHED, "kv_passes": (1, 0.2, 20)},
    "mla_decode": {**_DECODE, **_CACHED},
    "mla_prefill": {**_PREFILL, **_CACHED},
    "moe": {
        **_TILED,
        **_CACHED,
        "launch_s": (1.5e-5, 1e-6, 2e-4),
        "tile_exponent": (0.02, 1e-3, 1.2),
        "fill_fraction": (0.05, 0.01, 4),
        "step_s": (1e-8, 1e-10, 2e-5),
        "expert_s": (3e-8, 1e-10, 1e-6),
        "activation_passes": (1, 0.2, 20),
    },
    "recurrent": {
        **_CACHED,
        "compute_fraction": (0.2, 0.002, 1.1),
        "memory_fraction": (0.6, 0.05, 1.0),
        "launch_s": (1e-5, 1e-7, 1e-4),
        "chunk_s": (3e-6, 1e-9, 3e-5),
        "sharpness": (2, 0.7, 20),
    },
    "elementwise": {
        **_CACHED,
        "launch_s": (2e-6, 1e-7, 2e-5),
        "memory_fraction": (0.8, 0.1, 1.0),
    },
}
"""Continuous parameters by measured table."""

FORM: Mapping[str, str] = {
    "gemm": "wave",
    "attention_decode": "decode",
    "mla_decode": "decode",
    "attention_prefill": "prefill",
    "mla_prefill": "prefill",
    "moe": "grouped",
    "recurrent": "scan",
    "elementwise": "streaming",
}
"""Name of the formula of each measured table."""


def choices(table: str, key: tuple[str, ...]) -> Iterator[Mapping[str, float]]:
    """Discrete parameters to try for a group, each with the continuous ones refitted.

    Parameters
    ----------
    table : str
        Measured table.
    key : tuple of str
        Values of its group columns: chip, kernels, then formats and the like.
    """
    one_kernel = {"max_rows": NEVER, "least_rows": 1.0, "ungrouped_cost": 1.0}
    if table == "gemm":
        for ways, power in product((1.0, 4.0, 8.0), (2.0, 4.0, 8.0)):
            chosen = {"split_ways": ways, "sharpness": power}
            yield chosen if key[2] in QUANTISED else {**chosen, "quantise_fraction": 0.6}
    elif table == "attention_decode":
        yield from ({"min_rows": rows, **one_kernel} for rows in (1.0, 16.0, 32.0))
        if key[1] == "trtllm":  # its grouped kernel takes up to 32 queries per key-value head
            for rows in (1.0, 16.0, 32.0):
                yield from ({"min_rows": rows, "max_rows": 32.0, "least_rows": least} for least in (1.0, 2.0))
    elif table == "mla_decode":
        yield from ({"min_rows": rows, **one_kernel} for rows in (1.0, 16.0, 64.0, 128.0))
    elif table == "moe":
        yield from ({"width_step": step} for step in (16.0, 64.0, 128.0))
    elif table == "elementwise" and key[1] == "torch":  # timed to 1 us: no launch floor to be read off
        yield {"launch_s": 2.3e-6}
    elif table == "recurrent" and key[3] == "True":
        yield {"chunk_s": 0.0, "compute_fraction": 1.0, "sharpness": 4.0}
    else:
        yield {}
