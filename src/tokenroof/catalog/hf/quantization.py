"""Default formats of a checkpoint, from ``quantization_config`` and ``hf_quant_config.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tokenroof.catalog.hf.fields import Fields, short
from tokenroof.catalog.model import Precision

_FLOATS = {"float16": "fp16", "half": "fp16", "bfloat16": "bf16", "float32": "bf16", "float": "bf16"}
# ModelOpt algorithm -> (weights, activations)
_MODELOPT = {
    "NVFP4": ("nvfp4", "nvfp4"),
    "W4A16_NVFP4": ("nvfp4", ""),
    "FP8": ("fp8", "fp8"),
    "FP8_PB_WO": ("fp8_block", "fp8"),
    "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", "fp8"),
    "W4A16_AWQ": ("int4", ""),
    "W4A8_AWQ": ("int4", "fp8"),
    "INT4_AWQ": ("int4", ""),
    "W8A16": ("int8_wo", ""),
    "INT8_SQ": ("int8", "int8"),
    "MXFP4": ("mxfp4", "mxfp8"),
    "W4A16_MXFP4": ("w4a16_mxfp4", ""),
    "MXFP8": ("mxfp8", "mxfp8"),
}
# compressed-tensors format -> (weights, activations)
_COMPRESSED = {
    "float-quantized": ("fp8", "fp8"),
    "int-quantized": ("int8", "int8"),
    "naive-quantized": ("fp8", "fp8"),
    "nvfp4-pack-quantized": ("nvfp4", "nvfp4"),
    "mxfp4-pack-quantized": ("w4a16_mxfp4", ""),
    "mxfp8-quantized": ("mxfp8", "mxfp8"),
}
_KNOWN = ("fp8", "fbgemm_fp8", "mxfp4", "awq", "gptq", "bitsandbytes", "compressed-tensors", "modelopt")


@dataclass(frozen=True, slots=True)
class _Format:
    """Formats of quantised weights and of what they multiply ("" = unquantised)."""

    weights: str
    activations: str = ""
    experts_only: bool = False


def precision(f: Fields, outer: Fields, *, experts_only: bool, has_experts: bool, layers: int) -> Precision:
    """Formats by role.

    Parameters
    ----------
    f, outer : Fields
        The decoder's config and the whole one (the same object when not nested).
    experts_only : bool
        The family keeps everything but routed experts in 16 bit; used where the file does not list
        what it leaves alone.
    has_experts : bool
        The decoder has routed experts.
    layers : int
        Decoder layers: a part is left alone when a pattern names it or half the layers list it.

    Notes
    -----
    Embeddings and output head stay in 16 bit: no published format quantises them by default.
    """
    base = _base(f, outer)
    found = f.sub("quantization_config") or outer.sub("quantization_config")
    found = found or f.sub("compression_config") or outer.sub("compression_config")
    modelopt = outer.sub("hf_quant_config")
    if found is not None:
        quant, skipped, kv = _read(found), _skipped(found), _kv(found)
        trimmed = not found.has("config_groups") and not skipped
    elif modelopt is not None:
        inner = modelopt.sub("quantization") or modelopt
        quant, skipped, kv = _modelopt(inner), _skipped(inner), _kv(inner)
        trimmed = False
    else:
        return _v4_experts(f, base)
    if kv:
        base = replace(base, kv=kv)
    if not quant.weights:
        return base
    only = quant.experts_only or (experts_only and trimmed and not quant.activations)
    if only and not quant.experts_only:
        f.warn("quantisation is applied to routed experts alone, as this family does (the list is missing)")
    keeps_attention = only or _covers(skipped, _ATTENTION, layers)
    keeps_experts = _covers(skipped, _EXPERTS, layers)
    if keeps_attention and not has_experts:
        f.warn("attention is left unquantised; one format is kept for attention and dense matrices")
        keeps_attention = False
    weights = base.weights if keeps_attention else quant.weights
    return _v4_experts(
        f,
        replace(
            base,
            weights=weights,
            experts=base.experts if keeps_experts else quant.weights,
            activations=base.activations if quant.experts_only else quant.activations or base.activations,
            expert_activations=quant.activations if quant.experts_only else "",
        ),
    )


_ATTENTION = re.compile(r"attn|attention|mixer\\?\.[qkvo]_proj")
_EXPERTS = re.compile(r"(?<!shared_)experts(\W|$)")


def _covers(skipped: list[str], part: re.Pattern[str], layers: int) -> bool:
    """Whether the modules left alone include ``part`` in general, not in a few layers alone."""
    names = [name for name in skipped if part.search(name)]
    general = [name for name in names if not re.search(r"\d", name)]
    listed = {found.group() for name in names if (found := re.search(r"\d+", name)) is not None}
    return bool(general) or (bool(listed) and 2 * len(listed) >= layers)


def _v4_experts(f: Fields, base: Precision) -> Precision:
    """``expert_dtype`` of DeepSeek-V4: fp4 experts beside fp8 matrices."""
    kind = f.text("expert_dtype", "")
    if kind == "fp4":
        return replace(base, experts="mxfp4", expert_activations="mxfp8")
    if kind in ("", "fp8"):
        return base
    raise f.error("expert_dtype", f"got {short(kind)}", "It is 'fp4' or 'fp8'.")


def _base(f: Fields, outer: Fields) -> Precision:
    name = f.text("dtype", outer.text("dtype", "bfloat16")).removeprefix("torch.")
    if name not in _FLOATS:
        raise f.error("dtype", f"got {short(name)}", f"It is one of {', '.join(sorted(_FLOATS))}.")
    if name.startswith("float32"):
        f.warn("float32 weights are taken as bf16, the way engines load them")
    one = _FLOATS[name]
    state = f.text("mamba_ssm_cache_dtype", f.text("mamba_ssm_dtype", "float32"))
    if state not in _FLOATS:
        raise f.error(
            "mamba_ssm_cache_dtype", f"got {short(state)}", f"It is one of {', '.join(sorted(_FLOATS))}."
        )
    return Precision(
        weights=one,
        experts=one,
        embedding=one,
        activations=one,
        kv=one,
        state="fp32" if state in ("float32", "float") else _FLOATS[state],
    )


def _read(q: Fields) -> _Format:
    method = q.text("quant_method", "").lower().replace("_", "-")
    if not method and (q.has("quant_algo") or q.has("quantization")):
        method = "modelopt"
    match method:
        case "fp8" | "fbgemm-fp8" | "deepseek-v4-fp8":
            return _Format("fp8_block" if q.has("weight_block_size") else "fp8", "fp8")
        case "mxfp4" | "gpt-oss-mxfp4":
            return _Format("mxfp4", "mxfp8", experts_only=True)
        case "awq" | "gptq" | "auto-round" | "awq-marlin" | "gptq-marlin":
            return _int_weights(
                q, q.size_or("bits", q.size_or("w_bit", 4)), q.count_or_any("group_size", 128)
            )
        case "bitsandbytes":
            if q.flag("load_in_8bit", False) or q.flag("_load_in_8bit", False):
                return _Format("int8_wo")
            q.warn("bitsandbytes 4-bit weights are taken as int4")
            return _Format("int4")
        case "compressed-tensors":
            return _compressed(q)
        case "modelopt" | "modelopt-fp4" | "modelopt-mixed":
            return _modelopt(q.sub("quantization") or q)
        case _:
            raise q.error("quant_method", f"got {short(method)}", f"Known: {', '.join(_KNOWN)}.")


def _int_weights(q: Fields, bits: int, group: int) -> _Format:
    if bits == 4:
        return _Format("int4_g32" if group == 32 else "int4")
    if bits == 8:
        return _Format("int8_wo")
    raise q.error("bits", f"got {bits}", "Only 4 and 8 bit integer weights are modelled.")


def _modelopt(q: Fields) -> _Format:
    name = q.text("quant_algo", "")
    if not name:
        return _Format("")
    if name == "MIXED_PRECISION":
        layers = q.sub("quantized_layers")
        q.warn("mixed precision: the format of the first quantised expert or matrix is used for all")
        name = layers.first_algorithm() if layers is not None else ""
    if name not in _MODELOPT:
        raise q.error("quant_algo", f"got {short(name)}", f"Known: {', '.join(sorted(_MODELOPT))}.")
    return _Format(*_MODELOPT[name])


def _compressed(q: Fields) -> _Format:
    kind = q.text("format", "")
    groups = q.sub("config_groups")
    first = groups.first_object() if groups is not None else None
    weights = first.sub("weights") if first is not None else None
    inputs = first.sub("input_activations") if first is not None else None
    if kind in ("pack-quantized", "marlin-24", "") or (kind not in _COMPRESSED and weights is not None):
        if weights is None:
            q.warn("compressed-tensors: no config_groups; 4-bit weights in groups of 32 are assumed")
            return _Format("int4_g32")
        if weights.text("type", "int") == "float":
            return _Format("fp8", "fp8" if inputs is not None else "")
        bits = weights.size_or("num_bits", 4)
        if bits == 8 and inputs is not None:
            return _Format("int8", "int8")
        return _int_weights(q, bits, weights.count_or_any("group_size", 128))
    if kind not in _COMPRESSED:
        raise q.error(
            "format", f"got {short(kind)}", f"Known: {', '.join(sorted(_COMPRESSED))}, pack-quantized."
        )
    weight, activation = _COMPRESSED[kind]
    if weights is not None:
        if weight == "fp8" and weights.has("block_structure"):
            weight = "fp8_block"
        activation = activation if inputs is not None else ""
        if kind == "mxfp4-pack-quantized" and inputs is not None:
            return _Format("mxfp4", "mxfp8" if inputs.size_or("num_bits", 8) == 8 else "mxfp4")
    return _Format(weight, activation)


def _skipped(q: Fields) -> list[str]:
    """Names of modules left unquantised."""
    found: list[str] = []
    for word in ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules"):
        values = q.items(word) or []
        found.extend(value for value in values if isinstance(value, str))
    return found


def _kv(q: Fields) -> str:
    """KV-cache format a checkpoint asks for; "" = none."""
    scheme = q.raw("kv_cache_scheme")
    if isinstance(scheme, Mapping):
        return "fp8" if scheme.get("num_bits") == 8 else ""
    algorithm = q.text("kv_cache_quant_algo", "").upper()
    return {"FP8": "fp8", "NVFP4": "nvfp4", "INT8": "int8"}.get(algorithm, "")
