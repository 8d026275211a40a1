"""Laws: any valid config imports, any mutation of one is an InputError or a model."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import tokenroof.catalog.model as model_nouns
from tokenroof.catalog import counting
from tokenroof.catalog.hf import import_config
from tokenroof.catalog.shapes import expert_projections, projections, vectors
from tokenroof.errors import InputError

MODELS = Path(model_nouns.__file__).parent / "data" / "models"
CONFIGS = {path.stem: json.loads(path.read_text())["config"] for path in sorted(MODELS.glob("*.json"))}

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.just(2**41),
    st.floats(allow_nan=True),
    st.text(max_size=4),
    st.lists(st.integers(-1, 2), max_size=3),
    st.just({}),
    st.just([["x"]]),
)


@st.composite
def dense_configs(draw):
    heads = 2 ** draw(st.integers(0, 5))
    kv_heads = 2 ** draw(st.integers(0, heads.bit_length() - 1))
    return {
        "model_type": draw(st.sampled_from(["llama", "qwen2", "qwen3", "mistral", "olmo2"])),
        "hidden_size": heads * 8 * draw(st.integers(1, 32)),
        "intermediate_size": draw(st.integers(1, 4096)),
        "num_hidden_layers": draw(st.integers(1, 100)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": draw(st.integers(1, 200_000)),
        "max_position_embeddings": draw(st.integers(1, 1_000_000)),
        "tie_word_embeddings": draw(st.booleans()),
    }


@st.composite
def moe_configs(draw):
    experts = draw(st.integers(1, 512))
    return draw(dense_configs()) | {
        "model_type": draw(st.sampled_from(["qwen3_moe", "glm4_moe", "mixtral"])),
        "num_experts": experts,
        "num_experts_per_tok": draw(st.integers(1, experts)),
        "moe_intermediate_size": draw(st.integers(1, 4096)),
    }


def attempt(config):
    """The model and no error, or no model and the error."""
    try:
        return import_config(config, name="any"), ""
    except InputError as error:
        return None, str(error)


def check(model):
    assert sum(counting.parameter_parts(model).values()) == counting.total_parameters(model)
    active = counting.active_parameters(model)
    assert 0 < counting.active_parameters(model, count_embedding=False) <= active
    assert active <= counting.parameters(model)
    assert counting.kv_bytes_per_token(model) >= counting.kv_bytes_per_token(model, windows=True) >= 0
    for group in model.layers:
        for part in (*group.mixers, *((group.ffn,) if group.ffn is not None else ())):
            assert all(p.n > 0 and p.k > 0 and p.batch > 0 for p in projections(part, model.hidden))
            assert all(count >= 0 for count in vectors(part, model.hidden).values())


@given(config=dense_configs())
def test_any_dense_config_imports_and_counts_by_hand(config):
    model = import_config(config, name="any")
    check(model)
    hidden, inner, heads = (config["hidden_size"], config["intermediate_size"], config["num_attention_heads"])
    kv_width = config["num_key_value_heads"] * (hidden // heads)
    matrices = 2 * hidden * hidden + 2 * hidden * kv_width + 3 * hidden * inner
    tables = config["vocab_size"] * hidden * (1 if config["tie_word_embeddings"] else 2)
    least = config["num_hidden_layers"] * matrices + tables
    small = config["num_hidden_layers"] * (5 * hidden + 4 * kv_width) + hidden
    assert least < counting.parameters(model) <= least + small
    assert counting.active_parameters(model) == counting.parameters(model)


@given(config=moe_configs())
def test_any_moe_config_imports_and_skips_the_idle_experts(config):
    model = import_config(config, name="any")
    check(model)
    idle = sum(
        group.count
        * (group.ffn.num_experts - group.ffn.topk)
        * sum(p.parameters for p in expert_projections(group.ffn, model.hidden))
        for group in model.layers
    )
    assert counting.parameters(model) - counting.active_parameters(model) == idle


@settings(max_examples=400)
@given(data=st.data())
def test_a_mutated_config_is_an_input_error_or_a_model(data):
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    config = json.loads(json.dumps(CONFIGS[name]))
    nested = [config[key] for key in ("text_config", "vision_config", "quantization_config") if key in config]
    for _ in range(data.draw(st.integers(1, 3))):
        target = data.draw(st.sampled_from([config, *nested]))
        if not target:
            continue
        field = data.draw(st.sampled_from(sorted(target)))
        if data.draw(st.booleans()):
            del target[field]
        else:
            target[field] = data.draw(VALUES)
    model, error = attempt(config)
    if model is None:
        assert "\n" not in error
        assert error.startswith("model 'any'")
    else:
        check(model)


@given(data=st.data())
def test_dropping_a_required_size_is_never_silent(data):
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    config = json.loads(json.dumps(CONFIGS[name]))
    text = config.get("text_config", config)
    field = data.draw(
        st.sampled_from(["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
    )
    if field not in text or (field == "num_hidden_layers" and "hybrid_override_pattern" in text):
        return
    del text[field]
    model, error = attempt(config)
    told = [error] if model is None else list(model.warnings)
    assert any(field in text for text in told)


@given(extra=st.dictionaries(st.text(min_size=1, max_size=12), VALUES, max_size=4))
def test_extra_fields_never_change_a_count_silently(extra):
    base = CONFIGS["llama-3.1-8b"]
    fresh = {key: value for key, value in extra.items() if key not in base}
    model, error = attempt(base | fresh)
    assert error or model.warnings or counting.parameters(model) == 8_030_261_248
