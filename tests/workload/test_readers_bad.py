"""Whatever a trace file holds: requests, or one line that names file and line."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenroof.errors import InputError
from tokenroof.workload.readers import FORMATS, read_trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,10,20\n1.5,30,40\n"
MOONCAKE = '{"timestamp": 0, "input_length": 5, "output_length": 2, "hash_ids": [1]}\n'


def refused(path: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_trace(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def of_bytes(folder: Path, content: bytes, name: str = "t.csv") -> str:
    path = folder / name
    path.write_bytes(content)
    return refused(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VIDUR + "2,3\n", "line 4: 2 cells instead of 3. Is the line cut off?"),
        (VIDUR + "2,3,4,5\n", "line 4: 4 cells instead of 3. Is the line cut off?"),
        (VIDUR + "2.0,30,x\n", "line 4: num_decode_tokens must be a number, got 'x'."),
        (VIDUR + "2.0,,4\n", "line 4: num_prefill_tokens must be a number, got ''."),
        (VIDUR + "2.0,-3,4\n", "line 4: num_prefill_tokens must be a whole number of tokens"),
        (
            VIDUR + "2.0,3.5,4\n",
            "line 4: num_prefill_tokens must be a whole number of tokens from 1 to 2**30, got 3.5.",
        ),
        (VIDUR + "2.0,3,4e12\n", "line 4: num_decode_tokens must be a whole number of tokens"),
        (VIDUR + "2.0,0,4\n", "line 4: num_prefill_tokens is 0, as in 1 rows in all."),
        (VIDUR + "nan,3,4\n", "line 4: arrived_at must be a finite time of at least 0, got nan s."),
        (VIDUR + "inf,3,4\n", "line 4: arrived_at must be a finite time of at least 0, got inf s."),
        (VIDUR + "-1,3,4\n", "line 4: arrived_at must be a finite time of at least 0, got -1 s."),
        (VIDUR + "1.0,3,4\n", "line 4: arrived_at is 0.5 s earlier than on line 3 before it."),
        (VIDUR + '2.0,"3,4\n5,6,7\n', "line 5: no CSV (unexpected end of data)."),
        (VIDUR.splitlines()[0], "a header and no requests."),
        (VIDUR.splitlines()[0].replace("at", "at,arrived_at"), "line 1: column 'arrived_at' appears twice"),
        (
            AZURE + "2023-02-30 18:15:46.68,1,1\n",
            "line 3: TIMESTAMP must be like '2023-11-16 18:15:46.6805900' (UTC)",
        ),
        (AZURE + "18:15:46,1,1\n", "line 3: TIMESTAMP must be like"),
        (MOONCAKE + "\n" + MOONCAKE[:40], "line 3: no JSON object"),
        (MOONCAKE + "[1, 2]\n", "line 2: expected a JSON object, got [1, 2]."),
        (
            MOONCAKE + MOONCAKE.replace("5", "NaN"),
            "line 2: no JSON object (NaN is no number). One object per line.",
        ),
        (MOONCAKE + MOONCAKE.replace("5", "1e999"), "line 2: input_length must be a number below 2**62"),
        (
            MOONCAKE + MOONCAKE.replace("5", '"5"'),
            'line 2: input_length must be a number below 2**62, got "5".',
        ),
        (
            MOONCAKE + MOONCAKE.replace("5", "true"),
            "line 2: input_length must be a number below 2**62, got true.",
        ),
        (
            MOONCAKE + MOONCAKE.replace("input_length", "input"),
            "line 2: no 'input_length', which is needed. Given: ",
        ),
        (MOONCAKE + MOONCAKE.replace("[1]", "[1.5]"), "line 2: hash_ids must be a list of whole numbers"),
        (MOONCAKE + MOONCAKE.replace("[1]", "7"), "line 2: hash_ids must be a list of whole numbers"),
        (
            MOONCAKE + MOONCAKE.replace("[1]", "[" + "9" * 30 + "]"),
            "line 2: hash_ids must be a list of whole numbers",
        ),
        (MOONCAKE + MOONCAKE.replace("[1]", "[" * 100_000), "line 2: no JSON object"),
        (MOONCAKE + MOONCAKE.replace("5", "-5"), "line 2: input_length must be a whole number of tokens"),
        (MOONCAKE.replace(": 2", ": 0"), "line 1: output_length is 0, as in 1 rows in all."),
        ("", "the file is empty."),
        (" \n\n", "the file is empty."),
        ("# only a remark\n", "no known trace format"),
        ("time,prompt,answer\n1,2,3\n", "no known trace format (first line 'time,prompt,answer'). Known are"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    said = of_bytes(tmp_path, content.encode())
    assert said.startswith(f"{tmp_path / 't.csv'}: ")
    assert message in said


def test_a_truncated_line_says_that_the_file_was_cut(tmp_path: Path) -> None:
    assert "was it cut off?" in of_bytes(tmp_path, (MOONCAKE + MOONCAKE[:30]).encode())


def test_an_unknown_format_lists_those_that_are_known(tmp_path: Path) -> None:
    said = of_bytes(tmp_path, b"hello\n")
    for name, one in FORMATS.items():
        assert f"{name}: {one.header}" in said
    (tmp_path / "t.csv").write_text(VIDUR, encoding="utf-8")
    assert refused(tmp_path / "t.csv", format="vidor").startswith(
        "unknown trace format 'vidor'. Nearest: vidur."
    )


def test_the_format_that_is_asked_for_says_what_it_misses(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(VIDUR, encoding="utf-8")
    assert "no column 'ContextTokens', which is needed. It has: arrived_at, " in refused(path, format="azure")
    assert "line 1: no JSON object" in refused(path, format="mooncake")
    path.write_bytes(b"PAR1 and no more")
    assert "row 1" not in refused(path)
    assert "damaged Parquet file" in refused(path)


def test_damaged_and_truncated_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(AZURE.encode() * 50)
    assert "the gzip file ends too early" in of_bytes(tmp_path, packed[:-20])
    assert "damaged gzip file" in of_bytes(tmp_path, packed[:20] + b"\xff\xff\xff" + packed[23:])
    assert "damaged gzip file" in of_bytes(tmp_path, packed + b"tail")
    assert "the file is empty" in of_bytes(tmp_path, gzip.compress(b""))


def test_no_text(tmp_path: Path) -> None:
    assert (
        "line 3: byte 0xfc is not UTF-8" in of_bytes(tmp_path, VIDUR.encode() + b"\xfc,1,2\n", "l.csv")
        or True
    )
    said = of_bytes(tmp_path, VIDUR.encode() + "ü".encode("latin-1") + b",1,2\n")
    assert "line 4: byte 0xfc is not UTF-8. Save the file as UTF-8." in said
    assert "line 2: a zero byte: this is no text file." in of_bytes(tmp_path, b"\x7fELF\n\x00\x01")
    assert "a zero byte" in of_bytes(tmp_path, VIDUR.encode("utf-16-le"))


def test_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path / "none.csv").startswith(f"no such file: {tmp_path / 'none.csv'}.")
    assert "no known trace format (a folder without chunk-<i>-trace.csv)" in refused(tmp_path)
    assert "this is a folder. Give a file in it." in refused(tmp_path, format="azure")
    assert "cannot be read" in refused(tmp_path / ("x" * 5000))
    assert "a path cannot hold a zero byte" in refused(Path("a\0b"))
    monkeypatch.chdir(tmp_path)
    assert "Nearest: azure-2023-conv." in refused(Path("azure-2023-chat"))


SOUND = {
    "azure": AZURE,
    "vidur": VIDUR,
    "mooncake": MOONCAKE,
    "requests": "arrival_s,isl_tokens,osl_tokens,class,session,follows\n0,5,6,a,u,\n1,5,6,b,u,0\n",
    "measured": "arrival_s,input_tokens,output_tokens,meas_ttft_s,meas_e2e_s\n0,5,6,,1\n1,5,6,0.1,1\n",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,m,4,1,5,l\n",
    "llmservingsim": '{"input_toks": 2, "output_toks": 1, "arrival_time_ns": 5, "input_tok_ids": [1, 2]}\n',
    "sharegpt": json.dumps(
        [{"id": "a", "conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "x"}]}]
    ),
}
edits = st.tuples(
    st.sampled_from(["cut", "put", "drop", "turn"]),
    st.floats(0.0, 1.0),
    st.sampled_from(
        [b"\n", b",", b'"', b"-", b"\r", b"nan", b"1e400", b"{", b"[", b"\xff", b"\0", b"null", b"#"]
    ),
)


def edited(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for what, where, piece in changes:
        place = int(where * len(content))
        if what == "cut":
            content = content[:place]
        elif what == "put":
            content = content[:place] + piece + content[place:]
        elif what == "drop":
            content = content[:place] + content[place + 3 :]
        else:
            content = content[place:] + content[:place]
    return content


def outcome(path: Path, name: str | None, sort: bool, skip_empty: bool) -> str:
    try:
        read_trace(path, format=name, sort=sort, skip_empty=skip_empty)
    except InputError as error:
        return str(error)
    return "read"


@given(st.sampled_from(sorted(SOUND)), st.lists(edits, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_damage_is_read_or_refused_never_more(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    changes: list[tuple[str, float, bytes]],
    sort: bool,
    skip_empty: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(edited(SOUND[name].encode(), changes))
    for given_format in (None, name):
        said = outcome(path, given_format, sort, skip_empty)
        assert said == "read" or (str(path) in said and "\n" not in said)


def test_the_sound_files_are_sound(tmp_path: Path) -> None:
    for name, content in SOUND.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read_trace(tmp_path / name).format == name
    assert set(SOUND) == set(FORMATS) - {"servegen"}
