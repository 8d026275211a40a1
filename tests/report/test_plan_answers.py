"""Further answers to a plan: each is a section with sentences, tables and a chart, and plain JSON."""

import io
import json
from dataclasses import replace

import answers_by_hand as by_hand
import plans_by_hand
import pytest
from rich.console import Console
from test_page import Balance

from tokenroof.report import charts
from tokenroof.report.plan_answers import NAMES, documents, part_of, parts_of
from tokenroof.report.plan_json import dumps
from tokenroof.report.plan_page import page
from tokenroof.report.plan_text import answer


def cells(table):
    columns = [[str(each) for each in column.cells] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("given", by_hand.ALL, ids=lambda each: type(each).__name__)
def test_every_answer_has_sentences_tables_and_a_chart(given):
    part = part_of(given)
    assert part.name == NAMES[type(given)]
    assert part.sentences
    assert part.tables
    assert charts.svg(part.chart).startswith("<svg")
    assert part.caption


def test_all_of_them_fit_on_one_page_and_one_terminal():
    parts = parts_of(by_hand.ALL)
    shown = page(plans_by_hand.plan(), parts=parts)
    checker = Balance()
    checker.feed(shown)
    assert (checker.open, checker.faults) == ([], [])
    console = Console(file=io.StringIO(), width=140)
    console.print(answer(plans_by_hand.plan(), parts=parts))
    text = console.file.getvalue()
    for part in parts:
        assert part.title in text
        assert f"<h2>{part.title}</h2>" in shown
    assert "nan" not in text


def test_how_sure_the_choice_is_is_said_in_draws():
    part = part_of(by_hand.SENSITIVITY)
    assert part.sentences[0].startswith("the choice is the same in 93 % of 1,000 draws (prices within 20 %")
    chosen, flips = part.tables
    assert [row[1] for row in cells(chosen)] == ["93 %", "6 %", "1 %"]
    assert cells(chosen)[2][0] == "nothing can serve"
    assert cells(flips)[0][1] == "1.79 x"
    assert cells(flips)[1][1:] == ["-", "the same over the whole range that was looked at"]


@pytest.mark.parametrize(
    ("least", "said"),
    [(12.5, "from 12.5 requests/s on"), (0.0, "at every rate"), (None, "their API is cheaper up to")],
)
def test_the_rate_from_which_an_own_deployment_is_cheaper(least, said):
    part = part_of(replace(by_hand.SELF_HOST, break_even_per_s=least))
    assert said in part.sentences[1]


def test_fewer_chips_say_what_they_miss():
    part = part_of(by_hand.FEWER)
    assert part.sentences == [
        "32 chips save 20 % of the chips and miss the targets (310 % of the limit of TTFT p99)"
    ]
    assert [row[-1] for row in cells(part.tables[0])] == ["nothing", "TTFT p99 is 3.1 s > 1 s"]


def test_the_map_is_shown_at_the_bandwidth_that_the_chip_has():
    part = part_of(by_hand.APART)
    (table,) = part.tables
    assert "50 GB/s" in table.title
    assert cells(table)[0][1].startswith("together, the other cannot")
    assert cells(table)[1][1].startswith("apart, 25 %")
    assert len(cells(part.folded[0][1])) == len(by_hand.APART.cells)


def test_tiers_that_never_pay_are_named():
    part = part_of(by_hand.OFFLOAD)
    assert part.sentences[0] == "host: loading pays for prefixes of 4,096 tokens and more"
    assert part.sentences[1] == "ssd: loading never pays at the longest prefix looked at"


def test_drafts_that_do_not_pay_are_counted():
    part = part_of(by_hand.SPECULATION)
    assert "drafts pay in 3 of 4 places" in part.sentences[0]
    assert cells(part.tables[0])[1][1:] == ["3 drafts\n0.917 x", "3 drafts\n1.67 x"]


def test_json_has_every_answer_by_its_name_with_nothing_rounded():
    read = json.loads(dumps(plans_by_hand.plan(), answers=documents(by_hand.ALL)))["answers"]
    assert list(read) == list(NAMES.values())
    assert read["sensitivity"]["candidate"] == by_hand.BEST.label
    assert read["self-host"]["here"]["usd_per_mtok"] == by_hand.SELF_HOST.here.usd_per_mtok
    assert read["sensitivity"]["flips"][1]["factor"] is None
    assert read["apart"]["cells"][0]["gain_fraction"] is None
