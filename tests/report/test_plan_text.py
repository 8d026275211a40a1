"""What a plan prints: the answer first, units and intervals everywhere, reasons when there is none."""

import io
import re
from dataclasses import replace

import plans_by_hand
import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokenroof.report import plan_rejected, plan_tables
from tokenroof.report.plan_labels import family_text, objective_text, relative
from tokenroof.report.plan_part import Part
from tokenroof.report.plan_text import answer
from tokenroof.report.plan_words import (
    answer_lines,
    bound_line,
    infeasible_lines,
    looked_line,
    second_line,
    wanted_line,
    why_lines,
)
from tokenroof.report.tables import grid
from tokenroof.search.asked import OBJECTIVES


def printed(found, width=140, **given):
    console = Console(file=io.StringIO(), width=width)
    console.print(answer(found, **given))
    return console.file.getvalue()


def cells(table: Table) -> list[list[str]]:
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def test_the_answer_is_three_lines_and_comes_first():
    lines = answer_lines(plans_by_hand.plan())
    assert lines == (
        "40 chips = 5 x TP8 of h200, vllm, fp8, kv fp8",
        "$120.00/h, $0.417/Mtok in and out, $0.918/Mtok out ($0.826 - $1.19); 5 nodes, 1 rack, 69.2 kW to "
        "provide",
        "TTFT p99 710 ms (568 ms - 1.06 s; limit 1 s), TPOT p95 31 ms (24.8 - 46.5; limit 40 ms); without "
        "the spares and at 20 % more load than asked",
    )
    assert printed(plans_by_hand.plan(), width=200).startswith("\n".join(lines))


def test_an_unknown_price_is_said_and_never_a_number():
    alone = plans_by_hand.plan()
    found = replace(alone, front=alone.others[-1:], others=())
    assert answer_lines(found)[1].startswith("no price is known, ")
    assert "nan" not in printed(found)


def test_prefill_and_decode_apart_are_both_named():
    found = plans_by_hand.plan()
    apart = replace(found, front=found.others[:1], others=())
    assert answer_lines(apart)[0].startswith("44 chips = 3 x TP4 of h200 prefill + 4 x TP8 of b200 decode,")


def test_why_has_the_arithmetic_one_fewer_the_second_and_what_is_doubtful():
    lines = why_lines(plans_by_hand.plan())
    assert "h200: 24 requests/s, 4.8 for each of 5" in lines
    assert [line for line in lines if line.startswith("with 4 replicas")] == [
        "with 4 replicas: TTFT p99 is 3.1 s > 1 s"
    ]
    assert any(line.startswith("second best: 44 chips = ") for line in lines)
    assert any("TTFT p99 is kept at 710 ms" in line and "1.06 s" in line for line in lines)
    assert not any("ttft_p99_s" in line for line in lines)


def test_one_fewer_is_said_even_when_the_arithmetic_leaves_it_out():
    found = plans_by_hand.plan()
    silent = replace(found, front=(replace(found.front[0], why=("40 chips = ...",)),))
    assert "with 4 replicas: TTFT p99 is 3.1 s > 1 s" in why_lines(silent)


def test_the_second_best_says_by_how_much():
    assert "$0.521/Mtok (25 % more)" in second_line(plans_by_hand.plan())
    both = second_line(plans_by_hand.pareto())
    assert "25 % more" in both
    assert "39 % less" in both


def test_what_physics_allows_stands_beside_the_answer():
    text = bound_line(plans_by_hand.plan())
    assert "12 x h200" in text
    assert "compute" in text
    assert "3.3 times as many" in text


def test_a_plan_below_physics_says_that_its_load_is_too_short():
    found = plans_by_hand.plan()
    assert found.best is not None
    text = bound_line(replace(found, front=(replace(found.best, bound_chips=found.best.chips + 1),)))
    assert f"the plan has {found.best.chips}: enough for the requests that were simulated" in text
    assert "num_requests" in text
    assert "times as many" not in text


def test_what_was_asked_is_said():
    text = wanted_line(plans_by_hand.plan().question)
    assert "TTFT p99 within 1 s, TPOT p95 within 40 ms, at most 64 chips, at 20 % more load" in text


def test_everything_that_was_looked_at_is_counted():
    text = looked_line(plans_by_hand.plan())
    assert text.startswith("4,610 candidates looked at, 7 of them simulated")
    assert "96 does not fit" in text
    assert "311 too slow in closed form" in text


def test_every_deployment_has_its_limits_and_intervals():
    found = plans_by_hand.plan()
    table = plan_tables.deployments(found)
    headings = [str(column.header) for column in table.columns]
    assert "TTFT p99\nlimit 1 s" in headings
    rows = cells(table)
    assert len(rows) == 3
    assert rows[0][0] == "1 best"
    assert "568 ms - 1.06 s" in rows[0][headings.index("TTFT p99\nlimit 1 s")]
    assert "25 % more" in rows[1][headings.index("cost,\nprompt and answer")]
    assert rows[2][headings.index("USD/h")] == "-"


def test_the_best_of_every_chip_says_why_a_chip_has_none():
    rows = cells(plan_tables.by_chip(plans_by_hand.plan()))
    assert [row[0] for row in rows] == ["h200", "h200 prefill, b200 decode", "b200", "h100"]
    assert "TPOT p95: 0.052 s at best" in rows[-1][1]
    assert rows[-1][-1] == "14"


def test_rejected_add_up_by_reason():
    found = plans_by_hand.plan()
    rows = cells(plan_rejected.rejected(found))
    assert sum(int(row[1].replace(",", "")) for row in rows) == sum(row.count for row in found.rejected)
    assert [row[0] for row in rows] == ["does not fit", "too slow in closed form", "cannot be better"]
    assert rows[0][3:5] == ["141 GB", "79.2 GB"]
    short = cells(plan_rejected.rejected(found, most=1))
    assert [row[1] for row in short] == ["96", "4,511"]


def test_a_target_that_the_interval_leaves_open_is_marked():
    rows = cells(plan_tables.targets(plans_by_hand.plan().front[0]))
    assert rows[0] == [
        "TTFT p99",
        "710 ms",
        "568 ms - 1.06 s",
        "1 s",
        "71 %",
        "kept; the interval reaches beyond",
    ]


def test_infeasible_says_why_and_the_nearest_ask_before_anything_else():
    found = plans_by_hand.impossible()
    why, nearest = infeasible_lines(found)
    assert why == "TTFT p99: 0.0278 s at best, 0.002 s asked."
    assert nearest.startswith("Nearest ask that can be met: TTFT p99 <= 0.0493 s")
    text = printed(found)
    assert text.startswith("Infeasible: TTFT p99")
    assert "physics asks for at least 12 x h200" in text


def test_notes_of_the_plan_and_of_the_best_are_shown():
    text = printed(plans_by_hand.plan())
    assert "b200 has no price" in text
    assert "acceptance is an assumption" in text


def test_further_answers_have_their_place():
    table = grid("growth")
    table.add_column("load")
    table.add_row("2 x")
    part = Part(
        name="sensitivity", title="Sensitivity", sentences=("the same in 93 % of draws",), tables=(table,)
    )
    text = printed(plans_by_hand.plan(), parts=(part,))
    assert "the same in 93 % of draws" in text
    assert "2 x" in text


def test_every_objective_has_a_label_and_a_unit():
    for name in OBJECTIVES:
        assert re.search(r"[A-Za-z$]", objective_text(name, 12.5))


@pytest.mark.parametrize("found", [plans_by_hand.plan(), plans_by_hand.pareto(), plans_by_hand.impossible()])
def test_no_number_is_shown_without_its_unit(found):
    for line in (*answer_lines(found), wanted_line(found.question), bound_line(found)):
        assert naked(line) == [], line


def naked(line: str) -> list[str]:
    """Numbers of a line that nothing says the unit of: neither a dollar before nor a word behind."""
    line = re.sub(r"\b[A-Za-z]+\d+\w*", "", line)  # p99, h200, TP8 are names
    line = re.sub(r"\(([\d.]+ - [\d.]+); ", "(", line)  # ends of an interval, in the unit of the value before
    line = re.sub(r"\([^()]* chips\)", "", line)  # one unit for the parts of a bound
    unit = r"(?= ?(?:ms|s|kW|%|chips?|nodes?|racks?|x|tokens|requests/s|times)\b| %)"
    return re.findall(r"(?<![$\d.])\d[\d.,]*\b(?!\.?\d)" + unit.replace("(?=", "(?!"), line)


def test_a_naked_number_is_found():
    assert naked("TTFT p99 710 ms (568 - 900; limit 1 s), $0.4/Mtok") == []
    assert naked("TTFT p99 710 (limit 1 s), 12 % more") == ["710"]


def test_numbers_are_compared_in_words():
    assert relative(1.12, 1.0) == "12 % more"
    assert relative(0.955, 1.0) == "4.5 % less"
    assert relative(1.0, 1.0) == "the same"
    assert relative(float("nan"), 1.0) == ""
    assert family_text("h100 -> h100") == "h100, prefill and decode apart"


def test_cells_are_text_or_strings():
    for table in (plan_tables.deployments(plans_by_hand.plan()), plan_tables.by_chip(plans_by_hand.plan())):
        for column in table.columns:
            assert all(isinstance(cell, str | Text) for cell in column.cells)
