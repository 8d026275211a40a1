"""A real plan, small: it is printed, written and drawn without a gap."""

import io
import json

import pytest
from rich.console import Console

import tokenroof as tr
from tokenroof.report.plan_json import dumps
from tokenroof.report.plan_page import page
from tokenroof.report.plan_text import answer
from tokenroof.report.plan_words import answer_lines

SMALL = {
    "rate": 20,
    "num_requests": 400,
    "workers": 1,
    "disaggregated": False,
    "most_chips_per_replica": 2,
    "most_simulated": 4,
}


@pytest.fixture(scope="module")
def found():
    return tr.plan("llama-3.1-8b", "h100", slo={"ttft_p99": "1 s", "tpot": 0.03}, **SMALL)


def printed(plan):
    console = Console(file=io.StringIO(), width=140)
    console.print(answer(plan))
    return console.file.getvalue()


def test_what_is_printed_is_what_was_found(found):
    text = printed(found)
    best = found.best
    assert text.startswith(f"{best.chips} chip")
    assert len(answer_lines(found)) == 3
    assert f"{found.candidates:,} candidates looked at" in text
    assert "nan" not in text
    assert "None" not in text


def test_what_is_written_is_what_was_found(found):
    read = json.loads(dumps(found))
    best = found.best
    assert read["front"][0]["chips"] == best.chips
    assert read["front"][0]["objectives"]["ttft_s"] == best.objectives["ttft_s"]
    assert [each["value_s"] for each in read["front"][0]["targets"]] == [each.value for each in best.checks]
    assert sum(row["count"] for row in read["rejected"]) < read["candidates"]


def test_what_is_drawn_names_the_best(found):
    assert f'<p class="lead">{answer_lines(found)[0]}</p>' in page(found)


def test_an_ask_that_cannot_be_met_is_printed_with_the_nearest():
    text = printed(tr.plan("llama-3.1-8b", "h100", slo={"ttft_p99": "2 ms"}, **SMALL))
    assert text.startswith("Infeasible: TTFT p99")
    assert "Nearest ask that can be met: TTFT p99 <= " in text
