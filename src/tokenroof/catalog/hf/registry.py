"""Which builder imports which ``model_type``, and the import itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping

from tokenroof.catalog.hf.dense import (
    COHERE,
    GLM4,
    LLAMA,
    OLMO2,
    QWEN2,
    QWEN3,
    SEED,
    STARCODER2,
    build_dream,
    build_llada,
    build_opt,
    builder,
)
from tokenroof.catalog.hf.experts import (
    build_glm_moe,
    build_gpt_oss,
    build_llama4,
    build_mimo,
    build_minimax_m2,
    build_mixtral,
    build_qwen_moe,
)
from tokenroof.catalog.hf.fields import Fields, short
from tokenroof.catalog.hf.gemma import build_gemma, build_gemma2, build_gemma3, build_gemma4
from tokenroof.catalog.hf.hybrid import build_falcon_h1, build_jamba, build_nemotron_h
from tokenroof.catalog.hf.latent import build_deepseek
from tokenroof.catalog.hf.linear import build_kimi_linear, build_minimax_m1, build_qwen_delta
from tokenroof.catalog.hf.parallel import build_falcon, build_gptj, build_palm
from tokenroof.catalog.hf.parts import Parts
from tokenroof.catalog.hf.quantization import precision
from tokenroof.catalog.hf.sparse import build_deepseek_v4, build_minimax_m3
from tokenroof.catalog.hf.vision import tower
from tokenroof.catalog.model import ModelSpec, Moe, VisionTower
from tokenroof.errors import InputError, UnsupportedModelError

Builder = Callable[[Fields], Parts]

BUILDERS: Mapping[str, Builder] = {
    **dict.fromkeys(
        (
            "llama",
            "mistral",
            "ministral",
            "phi3",
            "granite",
            "smollm3",
            "internlm3",
            "arcee",
            "olmo",
            "glm",
            "yi",
        ),
        builder(LLAMA),
    ),
    **dict.fromkeys(("qwen2", "qwen2_5_vl", "qwen2_vl"), builder(QWEN2)),
    **dict.fromkeys(("qwen3", "qwen3_vl"), builder(QWEN3)),
    "olmo2": builder(OLMO2),
    "glm4": builder(GLM4),
    "seed_oss": builder(SEED),
    "starcoder2": builder(STARCODER2),
    "cohere": builder(COHERE),
    "llada": build_llada,
    "dream": build_dream,
    "opt": build_opt,
    "gptj": build_gptj,
    "palm": build_palm,
    "falcon": build_falcon,
    "gemma": build_gemma,
    "gemma2": build_gemma2,
    "gemma3": build_gemma3,
    "gemma4": build_gemma4,
    "mixtral": build_mixtral,
    **dict.fromkeys(("qwen2_moe", "qwen3_moe", "qwen3_vl_moe"), build_qwen_moe),
    "glm4_moe": build_glm_moe,
    "gpt_oss": build_gpt_oss,
    "llama4": build_llama4,
    "mimo_v2_flash": build_mimo,
    "minimax_m2": build_minimax_m2,
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm_moe_dsa"), build_deepseek),
    "deepseek_v4": build_deepseek_v4,
    "minimax_m3": build_minimax_m3,
    **dict.fromkeys(("minimax_text_01", "minimax_m1", "minimax"), build_minimax_m1),
    **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_moe"), build_qwen_delta),
    "kimi_linear": build_kimi_linear,
    "jamba": build_jamba,
    "nemotron_h": build_nemotron_h,
    "falcon_h1": build_falcon_h1,
}

_TEXT_KEYS = ("text_config", "llm_config", "language_config")
_OUTER_HARMLESS = re.compile(
    r"(image|video|vision|audio|pad|media|bos|eos)_\w*|\w*_token\w*|mm_\w+|projector_\w+"
)
# Fields that mark something else than a plain decoder; a config with one is never imported as dense.
_NOT_DENSE = re.compile(
    r"expert|moe|ssm|mamba|state_size|lora|latent|linear_|index_|conv|recurrent|block_types|"
    r"compress|hybrid|layer_pattern|encoder_|decoder_layers|cross_|rwkv|hyena"
)
_PLAIN = ("hidden", "layers", "heads", "intermediate", "vocab")


def import_config(
    config: Mapping[str, object],
    *,
    name: str,
    hf_id: str = "",
    source: str = "",
    stated: Mapping[str, object] | None = None,
) -> ModelSpec:
    """The model a Hugging Face config describes.

    Parameters
    ----------
    config : Mapping
        Content of config.json (``read_config``, ``parse_config_text`` or inline).
    name : str
        Identifier of the model.
    hf_id, source : str
        Hugging Face name, and where the config was read.
    stated : Mapping or None
        What the model card says: ``total_params`` and ``active_params``, in units of one parameter.

    Returns
    -------
    ModelSpec
        With ``warnings`` naming fields that could change the cost and approximations made.

    Raises
    ------
    UnsupportedModelError
        The architecture is not known; the nearest ones are offered.
    InputError
        A field is missing, of the wrong type, not positive, or contradicts another.
    """
    if not isinstance(config, Mapping):
        raise InputError(f"model {name!r}: got a {type(config).__name__}. A config is a mapping of fields.")
    outer = Fields(config, f"model {name!r}")
    outer_type = outer.text("model_type", "")
    inner = next((found for key in _TEXT_KEYS if (found := outer.sub(key)) is not None), None)
    f = inner if inner is not None else outer
    parts = _find(f, outer, name)(f)
    hidden, vocab = f.size("hidden"), f.size("vocab")
    has_experts = any(isinstance(group.ffn, Moe) for group in parts.layers)
    layers = sum(group.count for group in parts.layers)
    formats = precision(f, outer, experts_only=parts.experts_only, has_experts=has_experts, layers=layers)
    vision = _vision(f, outer, outer_type, hidden)
    tied = f.flag("tie_word_embeddings", outer.flag("tie_word_embeddings", parts.tied_default))
    context = _context(f)
    _warn_unknown(f, outer)
    return ModelSpec(
        name=name,
        hf_id=hf_id,
        architecture=_architecture(outer) or _architecture(f) or outer_type,
        hidden=hidden,
        vocab=vocab,
        tied_embeddings=tied,
        layers=parts.layers,
        max_context_tokens=context,
        precision=formats,
        source=source,
        mtp=parts.mtp,
        mtp_extra_parameters=parts.mtp_extra_parameters,
        vision=vision,
        extra_parameters=parts.extra_parameters,
        generation=parts.generation,
        stated_parameters=_stated(stated, "total_params", name),
        stated_active_parameters=_stated(stated, "active_params", name),
        warnings=tuple(f.warnings if f is outer else [*f.warnings, *_rest(outer, f)]),
    )


def _rest(outer: Fields, f: Fields) -> list[str]:
    return [text for text in outer.warnings if text not in f.warnings]


def _architecture(f: Fields) -> str:
    names = f.items("architectures") or []
    if any(not isinstance(one, str) for one in names):
        raise f.error(
            "architectures", f"got {short(names)}", "It must be a list of strings. Correct config.json."
        )
    return str(names[0]) if names else ""


def _key(text: str) -> str:
    return text.lower().replace("-", "_").removesuffix("_text")


def _find(f: Fields, outer: Fields, name: str) -> Builder:
    kinds = [_key(f.text("model_type", "")), _key(outer.text("model_type", ""))]
    for kind in kinds:
        if kind in BUILDERS:
            return BUILDERS[kind]
    architecture = _architecture(f) or _architecture(outer)
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"(For\w+|Model|LMHeadModel)$", "", architecture))
    if not any(kinds) and snake.lower() in BUILDERS:
        return BUILDERS[snake.lower()]
    given = kinds[0] or kinds[1] or architecture
    if not given and not all(f.has(word) for word in _PLAIN):
        raise f.missing(("model_type", *(word for word in _PLAIN if not f.has(word))))
    odd = f.names_matching(_NOT_DENSE)
    if f.flag("is_encoder_decoder", False) or odd or not all(f.has(word) for word in _PLAIN):
        near = difflib.get_close_matches(given, BUILDERS, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        why = f" (it has {', '.join(odd[:3])})" if odd else ""
        raise UnsupportedModelError(
            f"model {name!r}: architecture {short(given)} is not supported{why}. {hint}"
            f"{len(BUILDERS)} model types are known; describe the model with one of them."
        )
    f.warn(f"model_type {short(given)} is not known: imported as a plain dense decoder of the Llama shape")
    return builder(LLAMA)


def _context(f: Fields) -> int:
    if not f.has("context"):
        f.warn("max_position_embeddings is missing: the context limit is taken as 131072 tokens")
    return f.size_or("context", 131_072)


def _vision(f: Fields, outer: Fields, outer_type: str, hidden: int) -> VisionTower | None:
    config = outer.sub("vision_config")
    for key in ("audio_config", "speech_config", "talker_config"):
        if outer.has(key):
            outer.warn(f"{key}: this part of the model is not counted and not run")
    if config is not None:
        found = tower(config, _key(outer_type), hidden)
        _name_unknown(config, config.unknown(), "vision_config.")
        return found
    if outer is not f:
        outer.warn("the decoder is nested but vision_config is missing: no vision tower is counted")
    return None


def _warn_unknown(f: Fields, outer: Fields) -> None:
    for one in (f, outer):
        one.ignore("sliding_window", "use_sliding_window", "quantization_config", "compression_config")
    _name_unknown(f, f.unknown(), "")
    if outer is not f:
        left = [name for name in outer.unknown() if not _OUTER_HARMLESS.fullmatch(name)]
        _name_unknown(outer, left, "")


def _name_unknown(f: Fields, names: list[str], prefix: str) -> None:
    for name in names:
        f.warn(f"unknown field {prefix}{short(name)[1:-1]}: it could change the cost and is not modelled")


def _stated(stated: Mapping[str, object] | None, key: str, name: str) -> float | None:
    value = stated.get(key) if stated is not None else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise InputError(f"model {name!r}: stated {key} is {short(value)}. It must be a positive number.")
    return float(value)
