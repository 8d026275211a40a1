"""Tables and sentences: what is shown, where, and what an infeasible column says."""

from io import StringIO

import by_hand
import pytest
from rich.console import Console

from tokenroof.report import explain, labels, tables


def text(renderable, width=160):
    console = Console(width=width, record=True, file=StringIO())
    console.print(renderable)
    return console.export_text()


def rows(table):
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return list(zip(*columns, strict=True))


def named(table):
    return {row[0]: row[1:] for row in rows(table)}


@pytest.fixture(scope="module")
def several():
    return by_hand.several()


def test_chips_are_columns_and_metrics_rows(several):
    table = tables.comparison(several)
    assert [str(column.header) for column in table.columns][1:] == list(labels.short_names(several))
    assert named(table)["time to first token"][0] == "210 ms"


def test_prefill_and_decode_stand_apart(several):
    names = [row[0] for row in rows(tables.comparison(several))]
    assert names.index("Prefill") < names.index("time to first token") < names.index("Decode")
    assert names.index("Decode") < names.index("time per output token") < names.index("Both together")


def test_each_phase_names_its_limit(several):
    limits = [row[1] for row in rows(tables.comparison(several)) if row[0] == "limited by"]
    assert limits[0].startswith("compute")
    assert limits[1].startswith("hbm bandwidth")


def test_the_best_of_a_line_is_marked(several):
    table = tables.comparison(several)
    at = [row[0] for row in rows(table)].index("time per output token")
    styles = [str(list(column.cells)[at].style) for column in table.columns[1:]]
    assert styles == ["", "bold green", "", "red"]


def test_nothing_is_best_alone():
    assert tables.best_value([by_hand.estimate()], "tpot_s") is None


def test_an_infeasible_column_stays_with_its_reason(several):
    shown = text(tables.answer(several))
    assert named(tables.comparison(several))["sequences at once"][3] == "infeasible"
    assert "141 GB" in shown
    assert "Try --tp 4" in shown
    assert tables.infeasible(several[:2]) is None


def test_a_wait_of_nothing_has_no_line():
    assert "wait for prompts in front" not in named(tables.comparison([by_hand.estimate()]))


def test_operators_of_a_phase_are_sorted_and_complete():
    estimate = by_hand.estimate()
    found = rows(tables.operators(estimate.phases["decode"], title=""))
    assert found[0][0] == "mlp.gate_up"
    assert {row[0] for row in found} == {op.name for op in estimate.phases["decode"].ops} | {"host and gaps"}


def test_the_memory_table_ends_at_the_sum():
    estimate = by_hand.estimate()
    assert rows(tables.memory(estimate))[-1][3] == "79 GB"


def test_projections_come_first():
    from dataclasses import replace

    one = replace(by_hand.estimate(), assumptions=("a", "projection: x does not exist (yet)"))
    assert tables.assumptions([one])[0].startswith("projection")


def test_twins_get_distinct_names():
    twins = [by_hand.estimate(tp=4), by_hand.estimate(tp=8), by_hand.estimate(tp=8, concurrency=64)]
    assert len(set(labels.short_names(twins))) == 3


def test_the_headline_leaves_out_what_differs():
    one, other = by_hand.estimate(concurrency=8), by_hand.estimate(concurrency=16)
    assert labels.headline([one]).endswith("8 sequences at once")
    assert "at once" not in labels.headline([one, other])


def test_every_metric_of_the_glossary_has_a_label():
    from tokenroof.deploy.metrics import GLOSSARY

    assert set(GLOSSARY) == set(labels.METRICS)


def test_the_explanation_says_where_time_and_memory_go():
    shown = text(explain.explanation(by_hand.estimate()))
    for part in ("Prefill of one prompt", "mlp.gate_up", "hbm bandwidth", "kv", "Assumptions", "by-hand"):
        assert part in shown


def test_a_summary_is_one_sentence_per_deployment(several):
    said = [explain.summary(n, e) for n, e in zip(labels.short_names(several), several, strict=True)]
    assert "210 ms" in said[0]
    assert said[0].endswith("decode by hbm bandwidth.")
    assert "does not fit" in said[3]


def test_the_footing_of_each_column_is_under_its_formats(several):
    found = rows(tables.comparison(several))
    at = [row[0] for row in found].index("formats")
    assert found[at + 1] == ("operators", "measured", "measured", "sketch", "-")


def test_a_sketch_wins_nothing():
    """The fastest column is a sketch: the best measured one is marked, and alone none is."""
    sketch = by_hand.estimate("h200-hbf", speed=9.0, tiers=2)
    both = [by_hand.estimate("h100"), by_hand.estimate("h200", speed=1.35), sketch]
    table = tables.comparison(both)
    at = [row[0] for row in rows(table)].index("time per output token")
    assert [str(list(c.cells)[at].style) for c in table.columns[1:]] == ["", "bold green", ""]
    assert tables.best_value([both[0], sketch], "tpot_s") is None


def test_a_heading_counts_all_chips():
    from dataclasses import replace

    from tokenroof.deploy.core import Role

    one, other = by_hand.estimate("h100", tp=1), by_hand.estimate("h200", tp=2)
    (first,), (second,) = one.deployment.pools, other.deployment.pools
    pools = (replace(first, role=Role.PREFILL), replace(second, role=Role.DECODE, replicas=3))
    apart = replace(one, deployment=replace(one.deployment, pools=pools), label="h100, h200")
    named_by_chip = replace(by_hand.estimate("h100", tp=4), label="h100")
    table = tables.comparison([apart, named_by_chip, replace(one, label="mine")])
    headings = [str(column.header) for column in table.columns]
    assert headings == ["", "prefill 1 x h100, decode 6 x h200", "4 x h100", "mine"]
    assert named(table)["layout"] == ("prefill tp1\ndecode tp2", "tp4", "tp1")
