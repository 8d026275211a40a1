"""ServeGen: rates and lengths per client and window, from which requests are drawn."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tokenroof.errors import InputError
from tokenroof.workload.readers import Dropped, ServeGen, ServeGenClients, read_trace

BUSY = "0,2,4.0,Weibull,0.5,0.25\r\n600,0,0,,0,0\r\n1200,1,6.0,Gamma,0.05,20\r\n1800,0.5,1.0,,0,0"
QUIET = "0,0.1,1.5,Gamma,0.5,20\n600,0.1,1.5,Gamma,0.5,20\n1200,0,0,,0,0\n1800,0,0,,0,0\n"
SHORT = {"input_tokens": "{100: 0.25, 200: 0.75}", "output_tokens": "{10: 0.5, 30: 0.5}"}
LONG = {"input_tokens": "{5000: 1.0}", "output_tokens": "{7: 1.0}"}


def client(folder: Path, number: int, windows: str, tables: dict[str, dict[str, str]]) -> None:
    (folder / f"chunk-{number}-trace.csv").write_bytes(windows.encode())
    (folder / f"chunk-{number}-dataset.json").write_text(json.dumps(tables, indent=2), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    client(tmp_path, 0, BUSY, {"0": SHORT, "1200": LONG})
    client(tmp_path, 7, QUIET, {"0": LONG, "600": {"input_tokens": "{}", "output_tokens": "{}"}})
    return tmp_path


def process(path: Path, options: ServeGen | None = None) -> ServeGenClients:
    drawn = read_trace(path, format=options)
    assert isinstance(drawn, ServeGenClients)
    return drawn


def test_every_window_has_as_many_requests_as_its_rate_says(folder: Path) -> None:
    requests = process(folder).requests(3)
    counts = np.histogram(requests.arrival_s, bins=[0, 600, 1200, 1800, 2400])[0]
    assert counts.tolist() == [1200 + 60, 60, 600, 300]
    assert (np.diff(requests.arrival_s) >= 0.0).all()


def test_lengths_are_those_of_the_window_and_client(folder: Path) -> None:
    requests = process(folder, ServeGen(clients=(0,))).requests(5)
    early = requests.arrival_s < 600.0
    assert set(requests.isl_tokens[early]) == {100, 200}
    assert set(requests.isl_tokens[~early]) == {5000}
    share = float((requests.isl_tokens[early] == 200).mean())
    assert share == pytest.approx(0.75, abs=4.0 * (0.75 * 0.25 / 1200) ** 0.5)


def test_the_same_seed_draws_the_same_requests(folder: Path) -> None:
    drawn = process(folder)
    first, again, other = drawn.requests(1), drawn.requests(1), drawn.requests(2)
    assert first.arrival_s.tobytes() == again.arrival_s.tobytes()
    assert first.isl_tokens.tobytes() == again.isl_tokens.tobytes()
    assert first.arrival_s.tobytes() != other.arrival_s.tobytes()


def test_gaps_vary_as_the_shape_says(tmp_path: Path) -> None:
    """Squared variation: 1/k for Gamma, Gamma(1+2/k)/Gamma(1+1/k)^2 - 1 for Weibull, 1 for Poisson."""
    client(tmp_path, 0, "0,500,1,Gamma,0.5,0\n", {"0": SHORT})
    client(tmp_path, 1, "0,500,1,Weibull,0.5,0\n", {"0": SHORT})
    client(tmp_path, 2, "0,500,1,,0,0\n", {"0": SHORT})
    squared = []
    for number in range(3):
        times = process(tmp_path, ServeGen(clients=(number,))).requests(0).arrival_s
        gaps = np.diff(times)
        squared.append(float(gaps.var() / gaps.mean() ** 2))
    assert squared == pytest.approx([2.0, 5.0, 1.0], rel=0.05)


def test_a_part_at_another_rate(folder: Path) -> None:
    part = process(folder, ServeGen(start_s=300.0, duration_s=600.0, rate_per_s=10.0))
    assert part.duration_s == 600.0
    requests = part.requests(0)
    assert len(requests) == pytest.approx(6000, abs=3)
    busy = np.histogram(requests.arrival_s, bins=[0, 300, 600])[0] / len(requests)
    assert busy == pytest.approx([630 / 660, 30 / 660], rel=0.01)
    assert part.recorded_rate_per_s == pytest.approx(660 / 600, rel=1e-12)


def test_fractions_of_a_request_are_right_on_average(tmp_path: Path) -> None:
    client(tmp_path, 0, "0,0.002,1,,0,0\n", {"0": SHORT})
    client(tmp_path, 1, "0,0.01,1,,0,0\n", {"0": SHORT})
    drawn = process(tmp_path)
    mean = np.mean([len(drawn.requests(seed)) for seed in range(400)])
    assert mean == pytest.approx(7.2, abs=4.0 * (0.2 * 0.8 / 400) ** 0.5)


def test_one_file_of_a_client_is_enough(folder: Path) -> None:
    (folder / "my_chunk-3-trace.csv.gz").write_bytes(gzip.compress(QUIET.encode()))
    (folder / "my_chunk-3-dataset.json").write_text(json.dumps({"0": LONG}), encoding="utf-8")
    for name in ("my_chunk-3-trace.csv.gz", "my_chunk-3-dataset.json"):
        drawn = process(folder / name)
        assert (drawn.format, len(drawn.requests(0))) == ("servegen", 120)


def test_coupled_lengths_grow_together(folder: Path) -> None:
    apart = process(folder, ServeGen(clients=(0,), duration_s=600.0)).requests(0)
    together = process(folder, ServeGen(clients=(0,), duration_s=600.0, coupled_lengths=True)).requests(0)
    assert np.corrcoef(together.isl_tokens, together.osl_tokens)[0, 1] > 0.5
    assert abs(np.corrcoef(apart.isl_tokens, apart.osl_tokens)[0, 1]) < 0.1


def test_pictures_add_to_the_prompt(tmp_path: Path) -> None:
    tables = {"text_tokens": "{10: 1.0}", "output_tokens": "{0: 0.5, 4: 0.5}"}
    tables |= {"image_count": "{0: 0.5, 2: 0.5}", "image_tokens": "{1000: 1.0}"}
    client(tmp_path, 0, "0,1,1,,0,0\n", {"0": tables})
    drawn = process(tmp_path)
    requests = drawn.requests(0)
    assert set(requests.isl_tokens) == {10, 2010}
    assert set(requests.osl_tokens) == {1, 4}
    assert "client 0: prompts and answers of 0 tokens are drawn as 1 token." in drawn.notes


def test_reasoning_belongs_to_the_answer(tmp_path: Path) -> None:
    client(tmp_path, 0, "0,1,1,,0,0\n", {"0": SHORT | {"reason_ratio": "{0.5: 1.0}"}})
    assert "client 0: answers include their reasoning; reason_ratio is not used." in process(tmp_path).notes


def test_windows_before_the_first_table_are_counted(tmp_path: Path) -> None:
    client(tmp_path, 0, QUIET, {"600": LONG})
    drawn = process(tmp_path)
    assert drawn.dropped == (Dropped(count=60, why="expected in windows without a table of lengths"),)
    assert len(drawn.requests(0)) == 60


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ("0,-1,1,Gamma,0.5,1\n", r"trace\.csv: line 1: rate must be at least 0"),
        ("0,1,1,Pareto,0.5,1\n", r"line 1: unknown kind of gaps 'Pareto'"),
        ("600,1,1,Gamma,0.5,1\n0,1,1,Gamma,0.5,1\n", r"line 2: windows must ascend"),
        ("0,1,1,Gamma,0,1\n", r"line 1: the shape of gaps must lie in 0\.01"),
        ("0,1,1,Gamma,0.5,1\n600,1,1,Gam", r"line 2: 4 cells instead of 6"),
        ("0,0,0,,0,0\n", r"no request from 0 s on"),
        ("0,nan,1,Gamma,0.5,1\n", r"line 1: rate must be at least 0 at a finite time"),
    ],
)
def test_bad_windows(tmp_path: Path, windows: str, message: str) -> None:
    client(tmp_path, 0, windows, {"0": SHORT})
    with pytest.raises(InputError, match=message):
        read_trace(tmp_path)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"0": {"input_tokens": "{5: 1.0}"}}, r"line 2: window 0 needs input_tokens .* and output_tokens"),
        ({"0": SHORT | {"input_tokens": "{5: 0.5}"}}, r"input_tokens at 0 s: probabilities .* sum to 0\.5"),
        ({"0": SHORT | {"input_tokens": "{-5: 1.0}"}}, r"lengths must be whole numbers of at least 0"),
        ({"0": SHORT | {"input_tokens": "{5: x}"}}, r"no table of length: probability"),
        ({"0": SHORT | {"surprise": "{5: 1.0}"}}, r"unknown table 'surprise' at 0 s"),
        ({"zero": SHORT}, r"a window begins at whole seconds, got 'zero'"),
        ({"600": SHORT, "0": SHORT}, r"line \d+: windows must ascend"),
        ({"0": {"input_tokens": "{}", "output_tokens": "{}"}}, r"no window has tables of lengths"),
    ],
)
def test_bad_tables(tmp_path: Path, tables: dict[str, dict[str, str]], message: str) -> None:
    client(tmp_path, 0, QUIET, tables)
    with pytest.raises(InputError, match=message):
        read_trace(tmp_path)


def test_missing_and_cut_files(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no client 3\. It has: 0, 7\."):
        read_trace(folder, format=ServeGen(clients=(3,)))
    tables = folder / "chunk-7-dataset.json"
    tables.write_bytes(tables.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"chunk-7-dataset\.json: line \d+: no JSON"):
        read_trace(folder)
    tables.unlink()
    with pytest.raises(InputError, match=r"no such file: .*chunk-7-dataset\.json"):
        read_trace(folder)
    with pytest.raises(InputError, match=r"no known trace format \(a folder without"):
        read_trace(folder.parent)


def test_more_requests_than_memory_holds_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"2\.4e\+12 requests, at most"):
        process(folder, ServeGen(rate_per_s=1e9)).requests(0)
