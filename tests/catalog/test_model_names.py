"""Models by the names of their checkpoints; a format in the name is reported, never lost."""

import pytest

from tokenroof.catalog.catalog import load
from tokenroof.catalog.model_names import read_model_name
from tokenroof.errors import InputError, UnknownNameError

CATALOG = load()


@pytest.mark.parametrize(
    ("text", "name", "formats"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b", ()),
        ("Llama-3.3-70B-Instruct-FP8", "llama-3.3-70b", ("fp8",)),
        ("amd/Llama-3.3-70B-Instruct-MXFP4-Preview", "llama-3.3-70b", ("mxfp4",)),
        ("amd/Llama-3.1-405B-Instruct-FP8-KV", "llama-3.1-405b", ("fp8", "kv")),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "llama-3.1-8b", ("fp8", "dynamic")),
        ("RedHatAI/Meta-Llama-3.1-70B-Instruct-quantized.w8a8", "llama-3.1-70b", ("quantized", "w8a8")),
        ("models--meta-llama--Llama-3.1-8B", "llama-3.1-8b", ()),
        ("/models/Llama-3.1-8B-Instruct/", "llama-3.1-8b", ()),
        ("llama3.1:8b-instruct-fp16", "llama-3.1-8b", ("fp16",)),
        ("Llama-2-70b-chat-hf", "llama-2-70b", ()),
        ("Llama-4-Maverick-17B-128E-Instruct-FP8", "llama-4-maverick", ("fp8",)),
        ("nvidia/DeepSeek-R1-0528-FP4-v2", "deepseek-r1", ("fp4", "v2")),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek-v3", ()),
        ("DeepSeek-V3/R1", "deepseek-v3", ()),
        ("Qwen/Qwen3-32B-FP8", "qwen3-32b", ("fp8",)),
        ("Qwen3-235B-A22B-Instruct-2507-FP8", "qwen3-235b-a22b", ("fp8",)),
        ("Qwen3-235B", "qwen3-235b-a22b", ()),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "qwen2.5-7b", ("gptq", "int4")),
        ("openai/gpt-oss-120b", "gpt-oss-120b", ()),
        ("Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b", ()),
        ("Mistral-Nemo-Instruct-2407", "mistral-nemo-12b", ()),
        ("moonshotai/Kimi-K2-Instruct-0905", "kimi-k2", ()),
        ("Llama-3.3-70B-Instruct-Q4_K_M.gguf", "llama-3.3-70b", ("q4", "k", "m", "gguf")),
        ("Kimi-K2-Base", "kimi-k2", ()),
        ("moonshotai/Kimi-K2-Thinking", "kimi-k2-thinking", ()),
        ("Meta-Llama-3-8B-Instruct", "llama-3-8b", ()),
        ("Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3", ()),
        ("Mistral-Small-24B-Instruct-2501", "mistral-small-24b", ()),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek-v3", ()),
        ("DeepSeek-R1-Distill-Qwen-32B-quantized.w4a16", "qwen2.5-32b", ("quantized", "w4a16")),
        ("Qwen3-Coder-30B-A3B-Instruct-FP8", "qwen3-30b-a3b", ("fp8",)),
        ("lmsys/vicuna-13b-v1.5", "llama-2-13b", ()),
        ("PaLM-540B", "palm-540b", ()),
        ("GPTJ", "gpt-j-6b", ()),
    ],
)
def test_the_name_of_a_checkpoint_finds_its_architecture_and_format(text, name, formats):
    model, found = CATALOG.find_model(text)
    assert (model.name, found) == (name, formats)


def test_a_format_in_the_name_is_refused_where_nobody_would_read_it():
    """``model`` answers with the catalog's own format: an fp8 checkpoint must not become a bf16 one."""
    with pytest.raises(InputError, match=r"is 'qwen3-32b' in the format fp8.*--weights"):
        CATALOG.model("Qwen/Qwen3-32B-FP8")
    assert CATALOG.model("Qwen/Qwen3-32B") is CATALOG.model("qwen3-32b")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Llama-70B", ("llama-2-70b", "llama-3.1-70b", "llama-3.3-70b")),
        ("Qwen3", ("qwen3-8b", "qwen3-32b")),
    ],
)
def test_an_ambiguous_name_lists_what_it_may_be(text, names):
    with pytest.raises(InputError, match="may be") as caught:
        CATALOG.find_model(text)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "---", "fp8", "instruct", "Llama-3.1-8B-abliterated", "Llama-3.1-9B", "Mistral-7B-v0.9"]
)
def test_an_unknown_word_is_not_dropped(text):
    with pytest.raises(UnknownNameError, match="unknown model"):
        CATALOG.find_model(text)


@pytest.mark.parametrize("name", CATALOG.models())
def test_every_model_is_found_by_its_own_id_and_by_a_quantised_one(name):
    model = CATALOG.model(name)
    assert CATALOG.model(model.hf_id) is model
    assert CATALOG.find_model(f"someone/{name.upper()}-FP8")[0] is model


def test_a_name_is_taken_apart():
    read = read_model_name("nvidia/DeepSeek-R1-0528-Instruct-FP4-v2")
    assert read.name == "deepseek-r1"
    assert (read.formats, read.tuning, read.dates) == (("fp4", "v2"), ("instruct",), ("0528",))
    assert read_model_name("Mistral-7B-Instruct-v0.3").words == ("mistral", "7b", "v0.3")


VALIDATION_ROWS = (
    "CodeLlama-34b CodeLlama-34b-Instruct-hf DeepSeek-R1 DeepSeek-R1-0528 DeepSeek-V3 DeepSeek-V3/R1 "
    "DeepSeek-V4-Pro GPT-J-6B Llama-2-70b-chat Llama-2-7b Llama-2-7b-hf Llama-3.1-8B Llama-3.1-8B-Instruct "
    "Llama-3.3-70B-Instruct Llama-4-Scout MiniMax-M2.5 MiniMax-M3 Mistral-Nemo-Instruct-2407 "
    "Mixtral-8x7B-Instruct Mixtral-8x7B-v0.1 PaLM-540B Qwen3-14B Qwen3-30B-A3B Qwen3-32B Qwen3.5-397B-A17B "
    "gpt-oss-120b gpt-oss-20b"
)


@pytest.mark.parametrize("text", VALIDATION_ROWS.split())
def test_the_models_of_the_validation_rows_are_in_the_catalog_without_a_format(text):
    assert CATALOG.find_model(text) == (CATALOG.model(text), ())
