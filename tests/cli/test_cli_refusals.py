"""What would once have been taken in silence, or refused in words that do not help."""

import json

import pytest

from tokenroof.cli import main

SMALL = ["estimate", "--model", "llama-3.1-8b", "--chip", "h100"]
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "max_position_embeddings": 256,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def refused(capsys):
    """Runs a command that must fail, and gives the one line it says."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("tokenroof: ")
        assert captured.err.count("\n") == 1
        return captured.err

    return run


@pytest.mark.parametrize("name", ["a b/../c", "../c", "..", ".c", "-c", "a/b", "c\0", "é", "c" * 300, "c\nd"])
def test_a_name_that_leads_out_of_the_catalog(refused, tmp_path, name):
    folder = tmp_path / "mine"
    config = tmp_path / "tiny (2).json"
    config.write_text(json.dumps(CONFIG))
    assert "a model's name is made of" in refused(
        "models", "import", config, "--save", folder, f"--name={name}"
    )
    assert "a model's name is made of" in refused("models", "import", config, "--save", folder)
    assert list(tmp_path.rglob("*")) == [config]


def test_a_name_that_is_one_is_saved(tmp_path, capsys):
    config = tmp_path / "tiny (2).json"
    config.write_text(json.dumps(CONFIG))
    assert main(["models", "import", str(config)]) == 0
    assert main(["models", "import", str(config), "--save", str(tmp_path), "--name", "Tiny_2.5"]) == 0
    assert "model tiny-2.5" in capsys.readouterr().out
    assert (tmp_path / "models" / "tiny-2.5.json").is_file()


@pytest.mark.parametrize("price", [[], ["--price", "cloud"], ["--price", "3.5"]])
def test_a_capital_cost_that_nothing_counts(refused, price):
    assert "capex_usd counts with price 'tco' alone" in refused(*SMALL, "--capex-usd", "1000", *price)


def test_a_capital_cost_counts_with_tco(capsys):
    def cost(usd):
        assert main([*SMALL, "--price", "tco", "--capex-usd", usd, "--json"]) == 0
        row = json.loads(capsys.readouterr().out)["estimates"][0]
        return row["metrics"]["usd_per_hour"]["value"]

    assert cost("40000") > cost("1000")


def test_one_file_cannot_be_two_outputs(refused, tmp_path):
    page = tmp_path / "y.html"
    again = tmp_path / "." / "deep" / ".." / "y.html"
    for other in (page, again):
        assert "--html and --chart both write" in refused(*SMALL, "--html", page, "--chart", other)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kv", ["nvfp4", "mxfp4", "mxfp8"])
def test_a_cache_in_a_format_the_chip_does_not_have(refused, capsys, kv):
    words = f"kv '{kv}' needs a chip with a 4-bit float peak, h100 states none"
    assert words in refused(*SMALL, "--kv", kv)
    blackwell = ["estimate", "--model", "llama-3.1-8b", "--chip", "b200", "--kv", kv]
    assert words in refused(*blackwell, "--chip", "h100")
    assert words in refused(*blackwell, "--prefill-chip", "h100")
    assert main(blackwell) == 0
    assert f"kv {kv}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kv", ["int4", "fp32", "int4_g32"])
def test_a_cache_in_a_format_no_engine_has(refused, kv):
    assert "no format of a cache. Known: bf16, fp16, fp8, int8, mxfp8" in refused(*SMALL, "--kv", kv)


@pytest.mark.parametrize("kv", ["bf16", "fp16", "fp8", "int8", "FP8"])
def test_a_cache_in_a_format_all_have(capsys, kv):
    assert main([*SMALL, "--kv", kv, "--weights", "FP8", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["estimates"][0]
    assert row["feasible"]


@pytest.mark.parametrize("command", ["estimate", "explain"])
def test_several_chips_at_one_flag(refused, command):
    asked = [command, "--model", "llama-3.1-8b", "-c"]
    assert "Repeat --chip: --chip h100 --chip b200 (in Python" in refused(*asked, "h100,b200")
    assert "unexpected 'b200'. To compare chips, repeat --chip: --chip b200." in refused(
        *asked, "h100", "b200"
    )


def test_a_directory_is_no_chip(refused, tmp_path, monkeypatch, capsys):
    assert "is a directory" in refused(*SMALL, "-c", tmp_path)
    assert "is a directory" in refused(*SMALL, "--prefill-chip", tmp_path)
    (tmp_path / "h100").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(SMALL) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("--isl", "2k", "a whole number"),
        ("--isl", "1.5", "a whole number"),
        ("--batch", "nan", "a whole number"),
        ("--tp", "", "a whole number"),
        ("--utilisation", "half", "a number"),
        ("--capex-usd", "40k", "a number"),
    ],
)
def test_a_number_that_is_none_is_refused_in_plain_words(refused, option, value, wanted):
    assert refused(*SMALL, option, value) == f"tokenroof: {option} must be {wanted}, got {value!r}.\n"
