"""Listing, searching and showing what is known."""

import json

import pytest

from tokenroof.cli import main


@pytest.fixture
def said(capsys):
    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("command", "text", "found", "left_out"),
    [
        ("chips", "hopper", "h100", "mi300x"),
        ("chips", "hbf", "(projection)", "mi300x"),
        ("memories", "hbm3", "hbm3", "gddr"),
        ("links", "nvlink", "nvlink5", "pcie"),
        ("nodes", "nvl72", "gb200-nvl72", "hgx-h100"),
        ("engines", "vllm", "vllm", "sglang"),
        ("models", "qwen3", "qwen3-32b", "llama"),
        ("prices", "grid world", "grid.world_2025", "h100"),
        ("sources", "ember", "ember", "uptime"),
    ],
)
def test_lists_are_searched(said, command, text, found, left_out):
    shown = said(command, "list", text)
    assert found in shown
    assert left_out not in shown
    assert found in said(command, "list")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "chips show h100-sxm5",
            ("3.35 TB/s", "989.4 TFLOP/s", "datasheet", "  - aic: NVIDIA AIConfigurator"),
        ),
        ("memories show hbf1", ("512 GB", "projection", "Sources")),
        ("links show nvlink4", ("450 GB/s", "300 ns", "200 ns to 500 ns", "assumption", "hop_latency_s")),
        ("nodes show hgx-h100", ("chips_per_node", "8", "chip, switch")),
        ("engines show vllm", ("step_overhead_s", "500 us", "0 s to 1.5 ms", "operator-fits")),
        ("prices show h100", ("h100.cloud_median", "2.95 USD/h", "price-aimultiple: ")),
        ("prices show grid.us_2024", ("384 gCO2e/kWh", "ember")),
        ("models show deepseek-v3", ("671", "MlaAttention", "format of kv", "Hugging Face")),
        ("sources show ember", ("citation",)),
    ],
)
def test_show_gives_unit_range_claim_and_source(said, command, words):
    shown = said(*command.split())
    for word in words:
        assert word in shown


def test_every_chip_and_node_can_be_shown(said):
    from tokenroof import load_catalog

    catalog = load_catalog()
    for name in (*catalog.chips()[::6], "h200-hbf", "decode-pnm", "decode-3d"):
        assert "Sources" in said("chips", "show", name)


def test_an_imported_model_is_kept_and_used(said, tmp_path):
    config = {
        "model_type": "mixtral",
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    file = tmp_path / "tiny-moe.json"
    file.write_text(json.dumps(config))
    shown = said("models", "import", file, "--save", tmp_path / "mine")
    for words in (
        "model tiny-moe",
        "4 layers of",
        "Attention + Moe",
        "cache per token (bf16)",
        "active parameters",
    ):
        assert words in shown
    assert (tmp_path / "mine" / "models" / "tiny-moe.json").is_file()
    with_mine = ["--catalog", tmp_path / "mine"]
    assert "tiny-moe" in said("models", "list", "tiny", *with_mine)
    row = json.loads(
        said(
            "estimate",
            "--model",
            "tiny-moe",
            "--chip",
            "h100",
            "--isl",
            "100",
            "--osl",
            "10",
            "--json",
            *with_mine,
        )
    )["estimates"][0]
    assert row["feasible"]
    assert "model other" in said("models", "import", file, "--name", "Other")
