"""Whatever a result file holds: rows, or one line that names file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import result_clients as clients
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_clients import Read, Refused

from tokenroof.calibrate.readers import ResultRow, read_results
from tokenroof.errors import InputError

RUN = clients.served()
WRITERS = [
    clients.vllm,
    clients.sglang,
    clients.guidellm,
    clients.aiperf,
    clients.genai_perf,
    clients.inference_perf,
    clients.inferencex,
]


@pytest.mark.parametrize(
    ("content", "begins"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"\x00\x01\x02{", "line 1: a zero byte"),
        (b"\x89PNG\r\n\xff\xfe", "line 1: byte 0x89 is not UTF-8"),
        ("\u00a0", "no known result format"),
        ("hello", "no known result format (it begins with 'hello')"),
        ("name,age\nx,1\n", "no known result format"),
        ("[]", "an empty list"),
        ("[1, 2]", "line 1: expected a JSON object, got 1"),
        ("{}", "line 1: no known result format"),
        ('{"a": 1}\n{"b": 2}\n', "line 1: no known result format (keys 'a'). Known: CSV"),
        ("{" * 100_000, "line 1: no JSON"),
        ("[" * 100_000, "line 1: JSON that cannot be read"),
        ('{"completed": ' + "9" * 5000 + "}", "line 1: JSON that cannot be read"),
    ],
)
def test_what_is_no_result(refused: Refused, content: Any, begins: str) -> None:
    assert refused(content).startswith(begins)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_result_cut_off_anywhere_is_refused(refused: Refused, writer: Callable[..., Any]) -> None:
    text = json.dumps(writer(RUN), indent=1)
    for end in range(1, len(text) - 1, max(1, len(text) // 60)):
        assert refused(text[:end], num_gpus="2").startswith("line ")


def test_the_line_of_a_cut_is_named(refused: Refused) -> None:
    lines = "\n".join(json.dumps(clients.vllm(RUN)) for _ in range(3))
    assert refused(lines[:-200], num_gpus="2").startswith("line 3: no JSON")
    assert "was it cut off?" in refused(lines[:-2], num_gpus="2")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"completed": 0}, "0 requests completed."),
        ({"completed": None}, "'completed' and a 'duration' above 0 are needed."),
        ({"duration": 0.0}, "'completed' and a 'duration' above 0 are needed."),
        ({"duration": -1.0}, "duration must not be negative, got -1.0."),
        ({"completed": 1.5}, "completed must be a whole number, got 1.5."),
        ({"completed": True}, "completed must be a finite number, got true."),
        ({"mean_ttft_ms": float("nan")}, "mean_ttft_ms must be a finite number, got NaN."),
        ({"median_tpot_ms": float("inf")}, "median_tpot_ms must be a finite number, got Infinity."),
        ({"p99_ttft_ms": "12"}, 'p99_ttft_ms must be a finite number, got "12".'),
        ({"mean_itl_ms": 10**400}, "mean_itl_ms must be a finite number, got 1000"),
        ({"request_rate": -1}, "request_rate must be a number above 0 or 'inf', got -1."),
        ({"request_rate": "fast"}, "request_rate must be a number above 0 or 'inf'"),
        ({"input_lens": [1, 2], "output_lens": [1]}, "output_lens has 1 entries and input_lens 2."),
        ({"input_lens": [1], "output_lens": ["x"]}, "output_lens must hold finite numbers, got"),
        ({"input_lens": [1], "output_lens": [2], "ttfts": [-1.0]}, "ttfts must hold no negative numbers"),
        ({"input_lens": [1], "output_lens": [2], "itls": [3]}, "itls must be a list of lists."),
    ],
)
def test_a_value_that_is_none_is_named(refused: Refused, said: dict[str, Any], message: str) -> None:
    assert refused(clients.vllm(RUN, **said), num_gpus="2").startswith(f"line 1: {message}")


def test_times_next_to_nothing_are_no_measurement(refused: Refused) -> None:
    written = {key: value for key, value in clients.inferencex(RUN).items() if "tpot" not in key}
    assert "next to 0" in refused({**written, "mean_intvty": 5e-324})
    assert "next to 0" in refused(clients.vllm(RUN, duration=5e-324), num_gpus="2")


def test_zero_completed_requests_of_every_client(refused: Refused) -> None:
    guidellm, aiperf, stage = clients.guidellm(RUN), clients.aiperf(RUN), clients.inference_perf(RUN)
    guidellm["benchmarks"][0]["metrics"]["request_totals"]["successful"] = 0
    aiperf["request_count"]["avg"] = 0
    stage["successes"]["count"] = 0
    for written in (guidellm, aiperf, stage, clients.sglang(RUN, completed=0)):
        assert refused(written, num_gpus="2") == "line 1: 0 requests completed."


def test_a_bad_run_does_not_stop_the_others(read: Read) -> None:
    lines = [clients.vllm(RUN), clients.vllm(RUN, completed=0), clients.vllm(RUN)]
    rows = read("\n".join(json.dumps(line) for line in lines), num_gpus="2")
    assert [row.problem for row in rows] == ["", "0 requests completed.", ""]
    assert [row.line for row in rows] == [1, 2, 3]
    assert rows[1].values["id"] == "result-2"


@pytest.mark.parametrize("writer", WRITERS[:-1])
def test_the_number_of_accelerators_is_asked_for(refused: Refused, writer: Callable[..., Any]) -> None:
    message = refused(writer(RUN))
    assert message.startswith("line 1: it does not say how many accelerators served")
    assert message.endswith("--set num_gpus=8.")


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5", "9" * 400, "²"])
def test_a_number_of_accelerators_that_is_none(refused: Refused, text: str) -> None:
    assert refused(clients.vllm(RUN), num_gpus=text).startswith(
        "num_gpus must be a whole number of at least 1"
    )


def test_tp_of_a_disaggregated_run_is_no_number_of_accelerators(refused: Refused) -> None:
    assert "num_gpus" in refused(clients.vllm(RUN), tp="4", disagg="true")


def test_an_unknown_column_names_the_nearest(refused: Refused) -> None:
    message = refused(clients.vllm(RUN), num_gpu="8")
    assert message.startswith("unknown column 'num_gpu'. Nearest: num_gpus")
    assert len(message) < 200


def test_no_such_file_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "none.json")
    with pytest.raises(InputError, match="this is a folder"):
        read_results(tmp_path)


def test_the_servers_own_metrics_are_no_requests(refused: Refused) -> None:
    written = clients.inference_perf(RUN)
    del written["successes"]["latency"]
    assert "stage_<i>_lifecycle_metrics.json" in refused(written, num_gpus="2")


def test_units_that_are_none_of_time(refused: Refused) -> None:
    written = clients.aiperf(RUN)
    written["request_latency"]["unit"] = "parsecs"
    assert "request_latency.unit must be one of time, as 'ms', got \"parsecs\"." in refused(
        written, num_gpus="2"
    )


def rows_or_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    rows: tuple[ResultRow, ...] = ()
    refused = ""
    try:
        rows = read_results(path, given={"num_gpus": "2", "hardware": "h100", "model": "m"})
    except InputError as error:
        refused = str(error)
    assert bool(rows) != bool(refused)
    assert "\n" not in refused
    for row in rows:
        assert all(isinstance(name, str) and isinstance(text, str) for name, text in row.values.items())


MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3)
)


@MANY
@given(content=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    rows_or_one_line(tmp_path / "x", content)


@MANY
@given(content=st.text(max_size=300), begin=st.sampled_from(["{", "[", "hardware,model,mean_tpot_s\n", ""]))
def test_any_text(tmp_path: Path, content: str, begin: str) -> None:
    rows_or_one_line(tmp_path / "x", (begin + content).encode("utf-8", "surrogatepass"))


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, one in inner for place in places(one, (*here, key)))]


@MANY
@given(data=st.data(), writer=st.sampled_from(WRITERS), value=VALUES, drop=st.booleans())
def test_any_value_anywhere(tmp_path: Path, data: st.DataObject, writer: Any, value: Any, drop: bool) -> None:
    written = writer(RUN)
    *way, key = data.draw(st.sampled_from(places(written)[1:]))
    holder = written
    for step in way:
        holder = holder[step]
    if drop:
        del holder[key]
    else:
        holder[key] = value
    rows_or_one_line(tmp_path / "x", json.dumps(written).encode())
