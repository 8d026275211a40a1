"""Charts: what they hold, that each format is written, and that names keep their distance."""

import itertools

import by_hand
import pytest

from tokenroof.errors import InputError
from tokenroof.report import charts, theme
from tokenroof.report.charts import roofline, waterfall
from tokenroof.report.charts.sweep import sweep_rows

MAGIC = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".html": b"<!DOCTYPE html>"}


@pytest.mark.parametrize("kind", charts.KINDS)
def test_every_kind_draws_one_and_several(kind):
    for estimates in (by_hand.several()[:1], by_hand.several()):
        assert charts.svg(charts.chart(estimates, kind)).startswith("<svg")


@pytest.mark.parametrize("suffix", charts.FORMATS)
def test_every_format_is_what_it_says(tmp_path, suffix):
    path = tmp_path / f"chart{suffix}"
    charts.save_chart(charts.chart([by_hand.estimate()], "breakdown"), path)
    assert path.read_bytes().lstrip()[:15].upper().startswith(MAGIC[suffix].upper())


def test_the_interactive_page_loads_nothing(tmp_path):
    path = tmp_path / "chart.html"
    charts.save_chart(charts.chart([by_hand.estimate()], "memory"), path)
    page = path.read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "<link" not in page


def test_a_title_can_be_left_to_the_page():
    drawn = charts.chart([by_hand.estimate()], "breakdown", titled=False)
    assert "title" not in drawn.to_dict()


def test_unknown_kinds_and_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match="unknown chart 'pie'"):
        charts.chart([by_hand.estimate()], "pie")
    with pytest.raises(InputError, match="unknown chart format"):
        charts.save_chart(charts.chart([by_hand.estimate()]), tmp_path / "chart.bmp")
    with pytest.raises(InputError, match="nothing to draw"):
        charts.chart([by_hand.estimate(fits=False)])


def test_dots_are_the_operators_with_arithmetic_of_both_phases():
    estimate = by_hand.estimate()
    found = {(row["phase"], row["operator"]) for row in roofline.points("h100", estimate)}
    wanted = {(p.name, op.name) for p in estimate.phases.values() for op in p.ops if op.flop}
    assert found == wanted


def test_a_roof_bends_at_the_ridge():
    estimate = by_hand.estimate()
    chip = estimate.deployment.pools[0].chip
    ridge = 9.9e14 / chip.memory[0].bandwidth_bytes_per_s.value
    corners = [row["intensity"] for row in roofline.roof_rows("h100", estimate, (1.0, 1e4))]
    assert corners == pytest.approx([1.0, ridge, 1e4])


def test_two_tiers_have_two_slopes():
    rows = roofline.roof_rows("x", by_hand.estimate("h200-hbf", tiers=2), (1.0, 1e4))
    assert len({row["roof"] for row in rows}) == 2


def test_slabs_follow_one_another_to_the_whole():
    capacity = by_hand.estimate().capacity
    rows = waterfall.slabs(capacity)["hbm"]
    assert all(a["to"] == b["from"] for a, b in itertools.pairwise(rows))
    assert rows[-1]["to"] == pytest.approx(sum(item.bytes for item in capacity.items) / 1e9)


def test_a_sweep_is_one_line_per_deployment_with_its_ends_numbered():
    swept = [by_hand.estimate(concurrency=2**i) for i in range(6)]
    rows = sweep_rows(swept)
    assert len({row["deployment"] for row in rows}) == 1
    assert [row["concurrency"] for row in rows if row["labelled"]] == [1, 32]


def test_neighbouring_limits_and_slabs_have_colours_of_their_own():
    limits = ["compute", "memory:hbm", "memory:hbf", "network:a", "network:b", "latency", "host"]
    assert len(set(theme.limit_colours(limits))) == len(limits)
    slabs = ["weights", "activations", "runtime", "context", "graphs", "kv cache", "state", "reserve"]
    assert len(set(theme.slab_colours(slabs))) == len(slabs)
