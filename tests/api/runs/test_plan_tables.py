"""A plan as tables, and its simulations in the run."""

import json
import math

import polars as pl

from plan_by_hand import choice, record, result
from small_runs import QUESTION, content
from tokenroof.api.runs.export import Form, as_bytes
from tokenroof.api.runs.simulations import Simulations
from tokenroof.api.runs.store import RunStore, parquet
from tokenroof.api.runs.tables import plan_tables
from tokenroof.deploy.core import Infeasible
from tokenroof.search.core import Store


def test_choices_are_ranked_and_the_front_is_part_of_them():
    tables = plan_tables(result(choice(), others=(choice("h200", usd=3.0),)), [record()])
    assert tables["choices"]["rank"].to_list() == [1, 2]
    assert tables["front"].equals(tables["choices"].head(1))
    row = tables["choices"].row(0, named=True)
    assert row["label"] == choice().candidate.label
    assert (row["chips"], row["usd_per_hour"], row["usd_per_million_tokens"]) == (12, 30.0, 2.5)
    assert row["power_w"] is None  # what is not known is null, not nan
    assert (row["replicas"], row["needed"], row["weight_dtype"]) == ([3], [2], "fp8")
    assert row["pools"][0] | {"role": "both", "chip": "h100", "tp": 4, "max_num_seqs": 256} == row["pools"][0]
    assert row["checks"] == [
        {"target": "TTFT p99 <= 1 s", "value": 0.9, "low": 0.8, "high": 1.1, "limit_s": 1.0, "met": True}
    ]
    assert row["fewer"] == [{"replicas": [2], "missed": "TTFT p99 is 1.4 s, limit 1 s"}]
    assert row["why"] == ["12 chips = 3 replicas x TP4", "TTFT p99 binds"]


def test_every_reason_and_every_simulation_has_a_row():
    tables = plan_tables(result(choice()), [record(), record("k2", replicas=(2,), ttft_s=math.inf)])
    (reason,) = tables["rejected"].to_dicts()
    assert (reason["stage"], reason["count"], reason["need"], reason["need_unit"]) == (
        "memory",
        12,
        141e9,
        "bytes",
    )
    assert reason["example"].startswith("l4 TP1")
    assert tables["candidates"]["key"].to_list() == ["k1", "k2"]
    assert tables["candidates"]["values"][1].to_list()[0]["value"] == math.inf
    assert tables["bounds"]["chips"].to_list() == [2]
    assert tables["answer"].row(0, named=True)["notes"] == ["tpu-v7 has no price"]


def test_nothing_found_has_the_same_columns_and_says_why():
    some = plan_tables(result(choice()), [record()])
    none = plan_tables(
        result(infeasible=Infeasible(reason="TTFT below the floor.", need=0.1, have=0.2, unit="s"))
    )
    assert {name: frame.schema for name, frame in none.items()} == {n: f.schema for n, f in some.items()}
    assert none["choices"].is_empty()
    row = none["answer"].row(0, named=True)
    assert (row["feasible"], row["problem"], row["need"]) == (False, "TTFT below the floor.", 0.1)


def test_records_come_back_as_they_were(tmp_path):
    with RunStore(tmp_path / "a", QUESTION) as run:
        store: Store = Simulations(run)
        store.put("k1", record())
    with RunStore(tmp_path / "a", QUESTION, resume=True) as run:
        store = Simulations(run)
        assert store.get("k2") is None
        assert store.get("k1") == record()


def test_records_that_nobody_asked_for_are_not_in_the_answer(tmp_path):
    """A run that was killed may have finished simulations that the rest of it has no use for."""
    with RunStore(tmp_path / "a", QUESTION) as run:
        Simulations(run).put("stray", record("stray"))
    with RunStore(tmp_path / "b", QUESTION):
        pass
    for name in ("a", "b"):
        with RunStore(tmp_path / name, QUESTION, resume=True) as run:
            store = Simulations(run)
            for key in ("k2", "k1") if name == "a" else ("k1", "k2"):  # whatever ended first
                store.put(key, record(key))
            run.finish(plan_tables(result(choice()), store.used))
    names = ("candidates.parquet", "choices.parquet", "results.json")
    assert content(tmp_path / "a", names) == content(tmp_path / "b", names)


def test_cells_of_csv_and_json_hold_what_is_nested():
    frame = plan_tables(result(choice()), [record(ttft_s=math.inf)])["candidates"]
    flat = pl.read_csv(as_bytes(frame, Form.CSV))
    assert json.loads(flat["values"][0])[0] == {"name": "ttft_p99_s", "value": None, "low": 0.8, "high": 1.1}
    (row,) = json.loads(as_bytes(frame, Form.JSON))
    assert row["values"][1] == {"name": "tpot_s", "value": 0.03, "low": None, "high": None}
    assert parquet(frame) == parquet(frame)
