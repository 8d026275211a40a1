"""Formats of weights and cache, as people write them in result tables."""

from __future__ import annotations

import re
from dataclasses import replace

from tokenroof.calibrate.validation.core import UnmappedError
from tokenroof.catalog.core import Chip
from tokenroof.catalog.model import MlaAttention, ModelSpec, Precision

_SIXTEEN = ("bf16", "fp16", "bfloat16", "float16", "half", "16")
_WEIGHTS = (
    ("nvfp4", "nvfp4"),
    ("mxfp4", "mxfp4"),
    ("fp8", "fp8"),
    ("float8", "fp8"),
    ("w8a8", "int8"),
    ("int8", "int8"),
    ("uint4", "int4"),
    ("int4", "int4"),
    ("w4a16", "int4"),
    ("awq", "int4"),
    ("gptq", "int4"),
    ("fp4", "nvfp4"),
    *((word, "bf16") for word in _SIXTEEN),
)
"""First word found in a text about weights, to a format."""

ATTENTION_STAYS_WIDE = "attention in 16 bits: 4-bit checkpoints of latent-attention models quantise experts"
"""NVIDIA/Model-Optimizer#150 (NVFP4), ROCm/ATOM#527 (MXFP4)."""


def names_format(said: str) -> bool:
    """Whether a text about weights names a format."""
    return _format(said) is not None


def weight_format(said: str) -> str:
    """The format that a text about weights names.

    Raises
    ------
    UnmappedError
        It names none that is known.
    """
    found = _format(said)
    if found is not None:
        return found
    known = ", ".join(dict.fromkeys(found for _, found in _WEIGHTS))
    raise UnmappedError(f"weight_precision {said[:60]!r} is not known. Known: {known}.")


def _format(said: str) -> str | None:
    low = said.lower()
    matches = (found for word, found in _WEIGHTS if re.search(rf"(?<![a-z0-9]){word}(?![0-9])", low))
    return next(matches, None)


def precision_of(model: ModelSpec, weights: str, kv: str, chip: Chip) -> tuple[Precision, tuple[str, ...]]:
    """Formats of a served checkpoint, and what was assumed.

    Parameters
    ----------
    model : ModelSpec
        Its own formats hold where nothing is said.
    weights, kv : str
        As written in the columns ``weight_precision`` and ``kv_precision``; "" is "not said".
    chip : Chip
        A format "fp4" is the chip vendor's own.

    Raises
    ------
    UnmappedError
        A text names no known format.
    """
    notes: list[str] = []
    chosen = model.precision
    if weights:
        chosen, said = _weights(model, weight_format(weights), chip)
        notes += said
    else:
        notes.append("weights as in the checkpoint")
    if kv and "unknown" not in kv.lower():
        chosen = replace(chosen, kv=_kv(kv))
    elif "fp4" in chip.peak_flop_per_s and not {chosen.weights, chosen.experts} <= set(_SIXTEEN):
        # Published recipes for chips with 4-bit arithmetic keep the cache in 8 bits (InferenceMAX: vLLM,
        # SGLang and TensorRT-LLM on B200, ATOM and SGLang on MI355X), those for older chips in 16.
        chosen = replace(chosen, kv="fp8")
        notes.append("cache in fp8: not said, and usual for narrow weights on this chip")
    else:
        notes.append("cache in 16 bits: not said")
    return chosen, tuple(notes)


def _kv(said: str) -> str:
    low = said.lower()
    if "fp8" in low:
        return "fp8"
    if any(word in low for word in (*_SIXTEEN, "auto", "none")):
        return "bf16"
    raise UnmappedError(f"kv_precision {said[:60]!r} is not known. Known: fp8, bf16, auto.")


def _weights(model: ModelSpec, name: str, chip: Chip) -> tuple[Precision, tuple[str, ...]]:
    own = model.precision
    if name == "nvfp4" and chip.vendor.lower().startswith("amd"):
        name = "mxfp4"
    if name == "fp8" and "fp8_block" in (own.weights, own.experts):
        name = "fp8_block"
    if name == own.experts and name != own.weights:
        return own, ()
    if name == "bf16":
        return replace(
            own, weights="bf16", experts="bf16", activations="bf16", embedding="bf16", expert_activations=""
        ), ()
    if own.experts == "mxfp4" and own.weights == "bf16":
        # gpt-oss: every release of it has its experts in MXFP4; a label of 8 bits says what they are
        # multiplied with.
        return own, (f"{name} read as a label: experts stay in MXFP4",)
    activations = {"mxfp4": "mxfp4", "nvfp4": "nvfp4", "int4": "bf16"}.get(
        name, "fp8" if "fp8" in name else name
    )
    latent = any(isinstance(mixer, MlaAttention) for group in model.layers for mixer in group.mixers)
    if name in ("nvfp4", "mxfp4") and latent:
        return replace(
            own, weights="bf16", experts=name, activations="bf16", expert_activations=activations
        ), (ATTENTION_STAYS_WIDE,)
    return replace(own, weights=name, experts=name, activations=activations, expert_activations=""), ()
