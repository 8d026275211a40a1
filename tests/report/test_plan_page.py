"""The page of a plan: everything inside, nothing from outside, every part there, infeasible ones too."""

import re
from dataclasses import replace

import plans_by_hand
import pytest
from test_page import Balance

from tokenroof.report import charts
from tokenroof.report.launch import LaunchFile
from tokenroof.report.plan_charts import cost, cost_rows, decades, pareto, pareto_rows, ranked
from tokenroof.report.plan_counts import by_chip, by_chip_rows, rejected, rejected_rows
from tokenroof.report.plan_page import page
from tokenroof.report.plan_part import Part
from tokenroof.report.plan_targets import target_rows, targets

FILES = (
    LaunchFile(name="compose.yaml", text="image: <vllm>", note="docker compose up"),
    LaunchFile(name="dynamo.yaml", text="", note="one pool is no graph"),
)
PART = Part(name="growth", title="If traffic grows", sentences=("the same in 93 % of draws",))


@pytest.fixture(scope="module")
def text():
    return page(plans_by_hand.plan(), parts=(PART,), files=FILES)


@pytest.mark.parametrize("found", [plans_by_hand.plan(), plans_by_hand.pareto(), plans_by_hand.impossible()])
def test_tags_are_balanced_and_nothing_is_loaded(found):
    shown = page(found, parts=(PART,), files=FILES)
    checker = Balance()
    checker.feed(shown)
    assert (checker.open, checker.faults) == ([], [])
    assert "<script" not in shown
    assert "url(http" not in shown
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', shown) == []


def test_every_part_is_there(text):
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "The answer",
        "Why",
        "Targets",
        "Deployments that keep the targets",
        "Throughput, interactivity, cost",
        "Best of every chip",
        "What physics allows",
        "If traffic grows",
        "Turned away",
        "Launch files",
        "What the figures mean",
        "Notes",
    ]


def test_the_answer_is_the_first_line(text):
    assert '<p class="lead">40 chips = 5 x TP8 of h200, vllm, fp8, kv fp8</p>' in text


def test_identifiers_are_unique_over_all_pictures(text):
    found = re.findall(r'\bid="([^"]+)"', text)
    assert len(found) == len(set(found))


def test_launch_files_are_shown_as_they_are_and_missing_ones_say_why(text):
    assert "<pre>image: &lt;vllm&gt;</pre>" in text
    assert "dynamo.yaml: one pool is no graph" in text


def test_an_infeasible_plan_has_a_page_with_its_reason_and_the_nearest_ask():
    shown = page(plans_by_hand.impossible())
    assert "no deployment keeps this" in shown
    assert '<p class="bad">TTFT p99: 0.0278 s at best, 0.002 s asked.</p>' in shown
    assert "Nearest ask that can be met: TTFT p99 &lt;= 0.0493 s" in shown
    assert "What physics allows" in shown
    assert "Deployments that keep" not in shown


def test_a_plan_that_looked_at_nothing_has_a_page():
    nothing = replace(plans_by_hand.impossible(), rejected=(), bounds=(), candidates=0)
    assert "Turned away" not in page(nothing)


@pytest.mark.parametrize("draw", [pareto, cost, targets, by_chip, rejected])
def test_every_chart_is_drawn(draw):
    assert charts.svg(draw(plans_by_hand.plan())).startswith("<svg")


def test_dots_have_the_numbers_of_the_table():
    found = plans_by_hand.plan()
    assert [name.partition(":")[0] for name, _ in ranked(found)] == ["1", "2", "3"]
    assert [row["number"] for row in pareto_rows(found)] == ["1", "2", "3"]
    # the third has no price
    assert [row["number"] for row in cost_rows(found)] == ["1", "2"]


def test_dots_stand_where_the_targets_are_kept():
    found = plans_by_hand.plan()
    assert [row["wait"] for row in cost_rows(found)] == [0.71, 0.71]
    assert [row["value"] for row in target_rows(found, 1)] == [0.031, 0.019, 0.031]
    assert target_rows(found, 0)[0]["high"] == pytest.approx(1.065)


def test_without_a_target_of_the_first_token_its_mean_is_drawn():
    found = plans_by_hand.plan(question=plans_by_hand.question(targets=(plans_by_hand.TPOT,)))
    best = found.front[0]
    bare = replace(found, front=(replace(best, checks=best.checks[1:]),), others=())
    assert [row["wait"] for row in cost_rows(bare)] == [best.objectives["ttft_s"]]
    assert charts.svg(cost(bare)).startswith("<svg")


def test_bars_of_what_was_turned_away_are_whole():
    rows = rejected_rows(plans_by_hand.plan())
    for chips in {row["chips_of"] for row in rows}:
        mine = [row for row in rows if row["chips_of"] == chips]
        assert mine[0]["from"] == 0.0
        assert mine[-1]["to"] == 1.0
        assert [row["from"] for row in mine[1:]] == [row["to"] for row in mine[:-1]]


def test_the_best_of_every_chip_is_compared_to_the_best():
    rows = by_chip_rows(plans_by_hand.plan())
    assert [row["beside"] for row in rows] == ["$0.417/Mtok, 40 chips", "$0.521/Mtok, 44 chips, 25 % more"]


def test_axes_have_a_few_round_numbers():
    assert decades(0.018, 0.06) == pytest.approx([0.02, 0.03, 0.04, 0.05])
    assert decades(0.01, 1.1) == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    assert decades(1e-4, 1.0) == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1.0])
