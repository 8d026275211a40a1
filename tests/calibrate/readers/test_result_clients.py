"""One run, written by every client, gives the same numbers: definitions and units are converted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import result_clients as clients

from tokenroof.calibrate.readers import COLUMNS, read_results

GIVEN = {"num_gpus": "2"}
ONE_RUN = [name for name in clients.files() if name not in ("vllm-append.jsonl", "sglang.jsonl")]


def truth() -> dict[str, float]:
    run = clients.served()
    tpot = (run.e2e_s - run.ttft_s) / (run.osl - 1)
    gaps = np.concatenate(run.gaps_s)
    found = {"mean_itl_s": gaps.mean(), "median_itl_s": np.median(gaps)}
    for name, values in (("ttft", run.ttft_s), ("tpot", tpot), ("e2e", run.e2e_s)):
        found[f"mean_{name}_s"] = values.mean()
        found[f"median_{name}_s"] = np.median(values)
        found[f"p90_{name}_s"], found[f"p99_{name}_s"] = np.percentile(values, [90, 99])
    wrote, both = run.osl.sum() / run.duration_s, (run.isl.sum() + run.osl.sum()) / run.duration_s
    found |= {"output_tput_per_gpu": wrote / 2, "total_tput_per_gpu": both / 2}
    return {**found, "isl_mean": run.isl.mean(), "osl_mean": run.osl.mean(), "n_requests": len(run.isl)}


@pytest.mark.parametrize("name", list(clients.files()))
def test_files_are_what_the_clients_write(name: str) -> None:
    assert (clients.DATA / name).read_text(encoding="utf-8") == clients.files()[name]


@pytest.mark.parametrize("name", list(clients.files()))
def test_every_client_gives_the_same_numbers(name: str) -> None:
    row = read_results(clients.DATA / name, given=GIVEN)[0]
    assert row.problem == ""
    assert set(row.values) <= set(COLUMNS)
    known = {column: value for column, value in truth().items() if row.values.get(column)}
    for column, value in known.items():
        assert float(row.values[column]) == pytest.approx(value, rel=1e-6), column
    least = {"total_tput_per_gpu", "output_tput_per_gpu", "mean_ttft_s", "median_ttft_s", "p99_ttft_s"}
    assert least | {"mean_tpot_s", "median_tpot_s", "mean_e2e_s"} <= set(known)
    assert row.values["load"] == "closed:conc=4"


@pytest.mark.parametrize("name", list(clients.files()))
def test_rows_have_ids_of_their_own(name: str) -> None:
    rows = read_results(clients.DATA / name, given=GIVEN)
    ids = [row.values["id"] for row in rows]
    assert len(set(ids)) == len(rows) == (1 if name in ONE_RUN and "inferencex" not in name else 2)
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))


def test_throughput_is_per_accelerator() -> None:
    one, four = (read_results(clients.DATA / "vllm.json", given={"num_gpus": n})[0].values for n in "14")
    for column in ("total_tput_per_gpu", "output_tput_per_gpu", "input_tput_per_gpu"):
        assert float(one[column]) == pytest.approx(4 * float(four[column]), rel=1e-6)
    assert one["mean_ttft_s"] == four["mean_ttft_s"]


def test_a_result_packed_with_gzip_reads_the_same(tmp_path: Path) -> None:
    import gzip

    packed = tmp_path / "vllm.json.gz"
    packed.write_bytes(gzip.compress((clients.DATA / "vllm.json").read_bytes()))
    plain = read_results(clients.DATA / "vllm.json", given=GIVEN)
    assert [row.values for row in read_results(packed, given=GIVEN)] == [row.values for row in plain]


def test_runs_of_different_clients_may_stand_in_one_file(tmp_path: Path) -> None:
    run, path = clients.served(), tmp_path / "all.jsonl"
    written = (clients.vllm(run), clients.sglang(run), clients.inferencex(run), clients.aiperf(run))
    path.write_text("\n".join(json.dumps(one) for one in written))
    rows = read_results(path, given=GIVEN)
    assert len({row.values["total_tput_per_gpu"] for row in rows}) == 1
    sources = [row.values["source"] for row in rows]
    assert sources == ["vllm bench serve", "SGLang bench_serving", "InferenceX", "AIPerf"]
