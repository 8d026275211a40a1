"""What is written for other programs: JSON and data frames."""

import json
import math
import re
from dataclasses import replace

import by_hand
import polars as pl

from tokenroof.deploy.core import Metric
from tokenroof.report import frames
from tokenroof.report.json import SCHEMA, document, dumps


def test_json_keeps_its_contract():
    found = json.loads(dumps(by_hand.several()))
    assert found["schema"] == SCHEMA
    assert set(found["estimates"][0]) == {
        *("label", "model", "precision", "num_chips", "pools", "workload", "feasible", "infeasible"),
        *("metrics", "phases", "capacity", "evidence", "assumptions", "sources", "run"),
    }
    assert found["estimates"][0]["metrics"]["ttft_s"] == {
        "value": 0.21,
        "unit": "s",
        "low": None,
        "high": None,
    }
    assert found["definitions"]["ttft_s"]["definition"] == "Arrival to first token without queueing."


def test_json_documents_every_field():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/reference/json.md").read_text(encoding="utf-8")
    estimate = document([by_hand.estimate()])["estimates"][0]
    phase = estimate["phases"]["decode"]
    fields = [*estimate, *phase, *phase["operators"][0], *estimate["capacity"], *estimate["pools"][0]]
    assert [field for field in fields if not re.search(rf"\b{field}\b", page)] == []


def test_infeasible_rows_keep_both_numbers():
    last = json.loads(dumps(by_hand.several()))["estimates"][-1]
    assert not last["feasible"]
    assert last["infeasible"]["need"] > last["infeasible"]["have"]
    assert last["metrics"] == {}
    assert last["capacity"] is None


def test_what_is_not_finite_reads_null():
    metric = Metric(value=math.inf, unit="s", definition="no end")
    estimate = replace(by_hand.estimate(), metrics={"ttft_s": metric})
    assert json.loads(dumps([estimate]))["estimates"][0]["metrics"]["ttft_s"]["value"] is None


def test_a_frame_has_a_row_per_estimate_in_base_units():
    table = frames.frame(by_hand.several())
    assert table.height == 4
    assert table["ttft_s"][0] == 0.21
    assert table["ttft_s"][3] is None
    assert table["feasible"].to_list() == [True, True, True, False]


def test_operator_times_and_the_host_make_the_phase():
    estimate = by_hand.estimate()
    table = frames.operator_frame([estimate]).filter(pl.col("phase") == "decode")
    host = estimate.phases["decode"].by_limit_s["host"]
    assert math.isclose(table["time_s"].sum() + host, estimate.phases["decode"].time_s, rel_tol=1e-12)


def test_frames_are_written_by_extension(tmp_path):
    for name, read in (("a.csv", pl.read_csv), ("a.parquet", pl.read_parquet)):
        frames.write_frame(by_hand.several(), tmp_path / name)
        assert read(tmp_path / name).height == 4
