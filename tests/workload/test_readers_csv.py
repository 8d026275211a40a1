"""Traces in CSV: Azure, BurstGPT, Vidur, measured requests; bulk reading equals reading line by line."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY
from tokenroof.workload.readers import BurstGpt, Dropped, Trace, read_trace
from tokenroof.workload.readers.source import Source
from tokenroof.workload.readers.table import Columns, _in_bulk, _line_by_line, header_of

AZURE = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    b"2023-11-16 18:15:46.6805900,374,44\r\n"
    b"2023-11-16 18:15:50.9951691,396,109\r\n"
    b"2023-11-16 19:14:08.4025270,197,183"
)
BURST_OLD = (
    b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    b"5,ChatGPT,472,18,490,Conversation log\n"
    b"45,ChatGPT,0,0,0,Conversation log\n"
    b"118,GPT-4,417,276,693,API log\n"
    b"118,ChatGPT,10,20,30,API log\n"
)
BURST_NEW = (
    b"Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    b"19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log\n"
    b"19440161.0,,2,ChatGPT,36,29,65,API log\n"
    b"19440161.5,d5983bf9,0,ChatGPT,7,0,7,Conversation log\n"
    b"19440192.0,1722ac82,,GPT-4,1779,123,1902,Conversation log\n"
)
MEASURED = (
    b"arrival_s,input_tokens_client,output_tokens_client,output_tokens_nominal,error,meas_ttft_s,meas_e2e_s\n"
    b"0.0,591,140,247,0,0.130,1.943\n"
    b"0.05349,589,0,247,0,0.079,1.897\n"
    b"0.1,0,0,247,1,,300.4\n"
    b"0.2,580,247,247,0,0.081,1.899\n"
)
SHORT = b"arrival_s,input_tokens,output_tokens,meas_ttft_s,meas_e2e_s\n"


def trace_of(folder: Path, name: str, content: bytes, **options: object) -> Trace:
    path = folder / name
    path.write_bytes(content)
    trace = read_trace(path, **options)  # type: ignore[arg-type]
    assert isinstance(trace, Trace)
    return trace


def test_azure_seconds_count_from_the_first_row_to_a_tenth_of_a_microsecond(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "conv.csv", AZURE)
    requests = trace.requests(0)
    assert trace.format == "azure"
    assert requests.arrival_s.tolist() == [0.0, 4.3145791, 3501.721937]
    assert requests.isl_tokens.tolist() == [374, 396, 197]
    assert requests.osl_tokens.tolist() == [44, 109, 183]
    assert requests.label == "conv"
    assert trace.dropped == ()


def test_azure_of_2024_has_an_offset_and_seconds_without_a_fraction(tmp_path: Path) -> None:
    content = (
        b"TIMESTAMP,ContextTokens,GeneratedTokens\n"
        b"2024-05-12 00:00:00.003976+00:00,1,2\n2024-05-12 00:00:01+00:00,3,4\n"
    )
    assert trace_of(tmp_path, "week.csv", content).requests(0).arrival_s[1] == pytest.approx(
        0.996024, rel=1e-12
    )


def test_azure_with_images(tmp_path: Path) -> None:
    content = b"TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15 00:00:00,2,900,120\n"
    trace = trace_of(tmp_path, "lmm.csv.gz", gzip.compress(content))
    assert trace.requests(0).isl_tokens.tolist() == [900]
    assert any("NumImages" in note for note in trace.notes)
    assert trace.label == "lmm"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt"])
def test_gzip_is_seen_by_content_not_by_name(tmp_path: Path, name: str) -> None:
    assert len(trace_of(tmp_path, name, gzip.compress(AZURE))) == 3


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert len(trace_of(tmp_path, "bom.csv", b"\xef\xbb\xbf" + AZURE)) == 3


def test_burstgpt_leaves_failures_out_and_counts_them(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "old.csv", BURST_OLD)
    requests = trace.requests(0)
    assert trace.format == "burstgpt"
    assert trace.dropped == (Dropped(count=1, why="the request failed (no response tokens)"),)
    assert requests.arrival_s.tolist() == [0.0, 113.0, 113.0]
    names = [requests.classes[index].name for index in requests.class_index]
    assert names == ["ChatGPT / Conversation log", "GPT-4 / API log", "ChatGPT / API log"]
    assert (requests.session == NOBODY).all()
    assert trace.measured == {}


def test_burstgpt_with_sessions_and_elapsed_time(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "new.csv", BURST_NEW)
    requests = trace.requests(0)
    assert requests.arrival_s.tolist() == [0.0, 51.0, 82.0]
    assert requests.session.tolist() == [0, NOBODY, 0]
    assert (requests.follows == NOBODY).all()
    np.testing.assert_array_equal(trace.measured["e2e_s"], [43.0, 2.0, np.nan])


def test_burstgpt_of_one_model_and_one_kind_of_log(tmp_path: Path) -> None:
    only = BurstGpt(models=("ChatGPT",), log_types=("API log",))
    trace = trace_of(tmp_path, "old.csv", BURST_OLD, format=only)
    assert trace.requests(0).isl_tokens.tolist() == [10]
    assert [(d.count, d.why) for d in trace.dropped] == [(1, "of another model"), (2, "of another log type")]
    with pytest.raises(InputError, match=r"unknown model of old\.csv 'GPT4'\. Known: ChatGPT, GPT-4"):
        trace_of(tmp_path, "old.csv", BURST_OLD, format=BurstGpt(models=("GPT4",)))


def test_vidur_with_and_without_times(tmp_path: Path) -> None:
    timed = trace_of(
        tmp_path, "t.csv", b"arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,10,20\n1.5,30,40\n"
    )
    assert timed.requests(0).arrival_s.tolist() == [0.5, 1.5]
    bare = trace_of(
        tmp_path,
        "arxiv.csv",
        b"num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n100,20,120,5.0\n300,10,310,30.0\n",
    )
    assert (timed.format, timed.timed, bare.format, bare.timed) == ("vidur", True, "vidur", False)
    with pytest.raises(InputError, match=r"arxiv: a vidur file has no sending times\. .*sent_by"):
        bare.requests(0)
    closed = bare.in_closed_loop(1).requests(0)
    assert (closed.concurrency, closed.isl_tokens.tolist()) == (1, [100, 300])


def test_measured_requests_keep_what_was_measured(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, "m.csv.gz", gzip.compress(MEASURED))
    requests = trace.requests(0)
    assert trace.format == "measured"
    assert trace.dropped == (Dropped(count=1, why="the request failed (error)"),)
    assert requests.isl_tokens.tolist() == [591, 589, 580]
    assert requests.osl_tokens.tolist() == [247, 247, 247]
    assert trace.measured["ttft_s"].tolist() == [0.130, 0.079, 0.081]
    assert trace.measured["e2e_s"].tolist() == [1.943, 1.897, 1.899]
    assert trace.measured["output_tokens_client"].tolist() == [140.0, 0.0, 247.0]


def test_measured_requests_of_the_short_form(tmp_path: Path) -> None:
    content = SHORT + b"0.0,2358,531,0.17,15.7\n0.3,1034,769,,\n"
    trace = trace_of(tmp_path, "s.csv", content)
    assert trace.requests(0).osl_tokens.tolist() == [531, 769]
    np.testing.assert_array_equal(trace.measured["e2e_s"], [15.7, np.nan])
    assert set(trace.measured) == {"ttft_s", "e2e_s"}


def test_sorting_is_asked_for_and_keeps_rows_together(tmp_path: Path) -> None:
    content = SHORT + b"3,30,1,0.3,3\n1,10,1,0.1,1\n3,31,1,0.31,3\n"
    with pytest.raises(
        InputError, match=r"u\.csv: line 3: arrival_s is 2 s earlier than on line 2.*sort=True"
    ):
        trace_of(tmp_path, "u.csv", content)
    trace = trace_of(tmp_path, "u.csv", content, sort=True)
    assert trace.requests(0).isl_tokens.tolist() == [10, 30, 31]
    assert trace.measured["ttft_s"].tolist() == [0.1, 0.3, 0.31]


def test_azure_out_of_order_counts_from_the_earliest(tmp_path: Path) -> None:
    lines = AZURE.split(b"\r\n")
    content = b"\r\n".join([lines[0], lines[2], lines[1], lines[3]])
    with pytest.raises(InputError, match=r"line 3: TIMESTAMP is 4\.31458 s earlier"):
        trace_of(tmp_path, "c.csv", content)
    sort = trace_of(tmp_path, "c.csv", content, sort=True).requests(0)
    assert sort.arrival_s.tolist() == [0.0, 4.3145791, 3501.721937]


def test_skipping_empty_requests_is_asked_for_and_counted(tmp_path: Path) -> None:
    content = b"arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,0\n1,0,4\n2,5,6\n"
    with pytest.raises(
        InputError, match=r"line 2: num_decode_tokens is 0, as in 2 rows in all\..*skip_empty=True"
    ):
        trace_of(tmp_path, "v.csv", content)
    trace = trace_of(tmp_path, "v.csv", content, skip_empty=True)
    assert trace.dropped == (Dropped(count=2, why="prompt or answer of 0 tokens"),)
    assert trace.requests(0).arrival_s.tolist() == [2.0]


cells = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["+5", "5.", ".5", "1E3", " 7", "007"]),
)


@given(st.lists(st.tuples(cells, st.one_of(cells, st.just("")), st.text("abc -/é", min_size=1)), min_size=1))
def test_bulk_reading_equals_reading_line_by_line(rows: list[tuple[str, str, str]]) -> None:
    text = "# remark\nx,skipped,y,t\n" + "".join(f"{x},zz,{y},{t}\r\n" for x, y, t in rows)
    source = Source(path=Path("made.csv"), data=text.encode())
    columns = Columns(numbers=("x",), gaps=("y",), words=("t",))
    header = header_of(source)
    bulk, single = _in_bulk(source, columns, header), _line_by_line(source, columns, header)
    assert bulk is not None
    assert bulk.line.tolist() == single.line.tolist() == list(range(3, len(rows) + 3))
    np.testing.assert_array_equal(bulk.number["x"], single.number["x"])
    np.testing.assert_array_equal(bulk.number["y"], single.number["y"])
    assert bulk.text["t"].to_list() == single.text["t"].to_list()


def test_quotes_and_blank_lines_are_read_line_by_line(tmp_path: Path) -> None:
    content = b'arrival_s,isl_tokens,osl_tokens,class\n\n0,5,6,"a, b"\n \n1,"7",8,a\n'
    requests = trace_of(tmp_path, "q.csv", content).requests(0)
    assert [kind.name for kind in requests.classes] == ["a, b", "a"]
    assert requests.isl_tokens.tolist() == [5, 7]
