"""Intervals as people, JSON, CSV and charts show them."""

import json
from dataclasses import replace
from io import StringIO

import polars as pl
import pytest
from rich.console import Console

import tokenroof as tr
from tokenroof.deploy.core import Metric
from tokenroof.errors import InputError
from tokenroof.report.frames import frame
from tokenroof.report.human import human_range
from tokenroof.report.labels import metric_range, metric_text, with_range
from tokenroof.report.tables import comparison


def of(value: float, unit: str, low: float | None = None, high: float | None = None) -> Metric:
    return Metric(value=value, unit=unit, definition="", low=low, high=high)


@pytest.mark.parametrize(
    ("key", "metric", "text"),
    [
        ("output_tokens_per_s_per_chip", of(412.0, "tokens/s", 350.0, 480.0), "412 (350 - 480)"),
        ("tpot_s", of(0.0254, "s", 0.0231, 0.0289), "25.4 ms (23.1 - 28.9)"),
        ("ttft_s", of(0.9, "s", 0.00095, 1.2), "900 ms (950 us - 1.2 s)"),
        ("usd_per_mtok_output", of(1.6, "USD/Mtok", 1.5, 2.0), "$1.60/Mtok ($1.50 - $2.00)"),
        ("mfu_fraction", of(0.24, "1", 0.21, 0.32), "24 % (21 - 32 %)"),
        ("tpot_s", of(0.0254, "s"), "25.4 ms"),
        ("waiting_s", of(0.0, "s", 0.0, 0.0), "0 s"),
    ],
)
def test_a_value_with_its_interval(key: str, metric: Metric, text: str) -> None:
    assert with_range(metric_text(key, metric), metric_range(key, metric)) == text


def test_ends_share_their_unit_where_they_can() -> None:
    assert human_range(1e-3, 2e-3, "s") == "1 - 2 ms"
    assert human_range(9e-4, 2e-3, "s") == "900 us - 2 ms"


ONE = tr.estimate("llama-3.1-8b", "h100", concurrency=16)
TWO = tr.estimate("llama-3.1-8b", ["h100", "mi300x"], concurrency=16)


def printed(answer: tr.Answer) -> str:
    out = StringIO()
    Console(width=160, color_system=None, file=out).print(comparison(answer.estimates))
    return out.getvalue()


def test_tables_print_intervals_beside_one_value_and_below_several() -> None:
    metric = ONE[0].metrics["tpot_s"]
    ends = metric_range("tpot_s", metric)
    assert f"{metric_text('tpot_s', metric)} ({ends})" in printed(ONE)
    lines = printed(TWO).splitlines()
    at = next(index for index, line in enumerate(lines) if "time per output token" in line)
    assert ends in lines[at + 1]


def test_explanations_and_short_texts_have_them() -> None:
    ends = metric_range("tpot_s", ONE[0].metrics["tpot_s"])
    assert f"({ends})" in repr(ONE)
    assert ends in ONE.explain()


def test_json_has_both_ends_of_every_interval() -> None:
    document = json.loads(ONE.json())["estimates"][0]["metrics"]
    for name, metric in ONE[0].metrics.items():
        assert document[name]["low"] == metric.low
        assert document[name]["high"] == metric.high
    assert document["tpot_s"]["low"] < document["tpot_s"]["value"] < document["tpot_s"]["high"]
    assert document["chips"]["low"] is None


def test_frames_have_columns_for_the_ends() -> None:
    table = frame(TWO.estimates)
    assert table["tpot_s_low"].dtype == pl.Float64
    assert (table["tpot_s_low"] <= table["tpot_s"]).all()
    assert (table["tpot_s"] <= table["tpot_s_high"]).all()
    assert "chips_low" not in table.columns


def test_frames_without_any_interval_have_no_such_columns() -> None:
    bare = [
        replace(each, metrics={n: replace(m, low=None, high=None) for n, m in each.metrics.items()})
        for each in TWO.estimates
    ]
    assert not [name for name in frame(bare).columns if name.endswith("_low")]


def test_the_answer_gives_the_interval_of_a_metric() -> None:
    low, high = ONE.interval("tpot_s")
    assert low <= ONE.metric("tpot_s") <= high
    assert TWO.interval("tpot_s", 1) == (TWO[1].metrics["tpot_s"].low, TWO[1].metrics["tpot_s"].high)
    with pytest.raises(InputError, match="chips has no interval"):
        ONE.interval("chips")
    with pytest.raises(InputError, match=r"Say which: interval\('tpot_s', 0\)"):
        TWO.interval("tpot_s")


def test_the_chart_of_a_sweep_draws_them() -> None:
    sweep = tr.batch_sweep("llama-3.1-8b", "h100", batches=[1, 8, 64])
    text = sweep.chart("sweep").to_json()
    assert "chip_low" in text
    assert "nine of ten" in text
