"""What a request does not define is left out of its answer: neither 0 nor another figure."""

import pytest
from rich.console import Console

import tokenroof as tr
from tokenroof.report import explain, tables
from tokenroof.report.html import page


def shown(what):
    console = Console(width=200)
    with console.capture() as text:
        console.print(what)
    return text.get()


@pytest.mark.parametrize("prefill_chip", [None, "b200"])
def test_one_output_token_has_no_time_between_tokens(prefill_chip):
    answer = tr.estimate("llama-3.1-8b", "h100", isl=2000, osl=1, concurrency=8, prefill_chip=prefill_chip)
    one = answer[0]
    missing = {"tpot_s", "decode_step_s", "output_tokens_per_s_per_user", "usd_per_mtok_output"}
    assert not missing & set(one.metrics)
    assert {"ttft_s", "e2e_s", "usd_per_mtok_total", "usd_per_mtok_input"} <= set(one.metrics)
    assert list(one.phases) == ["prefill"]
    table = tables.comparison([one])
    lines = dict(zip(*(map(str, column.cells) for column in table.columns), strict=True))
    assert (lines["time per output token"], lines["cost of output"]) == ("-", "-")
    assert "time between" not in shown(explain.explanation(one))
    whole = page(answer, sweep=answer)
    assert "Roofline" in whole
    assert "Throughput against interactivity" not in whole


@pytest.fixture(scope="module")
def diffusion():
    """On an engine without clients: what a request is depends on steps alone."""
    return tr.estimate("llada-8b", "h100", isl=2000, osl=500, concurrency=42, engine="generic")[0]


def test_a_model_that_reruns_the_sequence_has_no_prefill(diffusion):
    assert list(diffusion.phases) == ["decode"]
    assert not {"prefill_s", "usd_per_mtok_input"} & set(diffusion.metrics)
    assert "refill" not in shown(tables.comparison([diffusion]))
    assert "Prefill of one prompt" not in shown(explain.explanation(diffusion))
    assert "Roofline" in page([diffusion])


def test_a_denoising_step_is_one_figure_everywhere(diffusion):
    step_s = diffusion.metrics["decode_step_s"].value
    assert diffusion.phases["decode"].time_s == pytest.approx(step_s, rel=1e-9)
    assert diffusion.metrics["e2e_s"].value == pytest.approx(512 * step_s, rel=1e-9)
    assert diffusion.metrics["tpot_s"].value == pytest.approx((512 - 32) * step_s / 499, rel=1e-9)
    assert any(text.startswith("tokens: the first 32 come together") for text in diffusion.assumptions)
