"""Request files of one's own: what is written is read back as it was, and hand-written CSV is understood."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenroof.errors import InputError
from tokenroof.workload.core import NOBODY, Prefixes, RequestClass, Requests, Slo
from tokenroof.workload.readers import FORMATS, Own, Trace, read_trace, write_requests
from tokenroof.workload.readers.take import renumbered

HEAD = "arrival_s,isl_tokens,osl_tokens"
COLUMNS = ("arrival_s", "isl_tokens", "osl_tokens", "follows", "session", "class_index")


def read(path: Path, **options: object) -> Trace:
    trace = read_trace(path, **options)  # type: ignore[arg-type]
    assert isinstance(trace, Trace)
    return trace


def by_hand(folder: Path, text: str, **options: object) -> Trace:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return read(path, **options)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
limits = st.one_of(st.none(), st.floats(1e-6, 1e6))


@st.composite
def tables(draw: st.DrawFn) -> Requests:
    count = draw(st.integers(1, 12))
    whole = st.integers(1, 2**30)
    kinds = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    classes = tuple(
        RequestClass(
            name=name, priority=draw(st.integers(0, 7)), slo=Slo(ttft_s=draw(limits), e2e_s=draw(limits))
        )
        for name in kinds
    )
    taken: set[int] = set()
    follows = []
    for row in range(count):
        open_rows = [NOBODY, *(earlier for earlier in range(row) if earlier not in taken)]
        follows.append(draw(st.sampled_from(open_rows)))
        taken.add(follows[-1])
    free = np.array(follows) == NOBODY
    arrival_s = np.array(draw(st.lists(st.floats(0.0, 1e9), min_size=count, max_size=count)))
    arrival_s[free] = np.sort(arrival_s[free])
    prefixes = None
    if draw(st.booleans()):
        blocks = draw(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=count, max_size=count))
        flat = renumbered(np.array([i for one in blocks for i in one], dtype=np.int64))
        start = np.concatenate(([0], np.cumsum([len(one) for one in blocks]))).astype(np.int64)
        prefixes = Prefixes(block_tokens=draw(st.integers(1, 512)), start=start, ids=flat)
    column = st.lists(whole, min_size=count, max_size=count)
    return Requests(
        arrival_s=arrival_s,
        isl_tokens=np.array(draw(column)),
        osl_tokens=np.array(draw(column)),
        follows=np.array(follows),
        session=np.array(draw(st.lists(st.integers(-1, count - 1), min_size=count, max_size=count))),
        class_index=np.array(
            draw(st.lists(st.integers(0, len(classes) - 1), min_size=count, max_size=count)), dtype=np.int64
        ),
        classes=classes,
        prefixes=prefixes,
        concurrency=draw(st.one_of(st.none(), st.integers(1, 1000))),
        label=draw(names),
        source=draw(names),
    )


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
@settings(max_examples=40)
@given(requests=tables())
def test_written_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, ending: str, requests: Requests
) -> None:
    path = tmp_path_factory.mktemp("own") / f"requests{ending}"
    write_requests(requests, path)
    trace = read(path)
    back = trace.table
    assert trace.format == "requests"
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(back, name), getattr(requests, name), err_msg=name)
    for name in ("classes", "concurrency", "label", "source"):
        assert getattr(back, name) == getattr(requests, name)
    assert (back.prefixes is None) == (requests.prefixes is None)
    if back.prefixes is not None and requests.prefixes is not None:
        assert back.prefixes.block_tokens == requests.prefixes.block_tokens
        np.testing.assert_array_equal(back.prefixes.start, requests.prefixes.start)
        np.testing.assert_array_equal(back.prefixes.ids, requests.prefixes.ids)


def small() -> Requests:
    return Requests(
        arrival_s=np.array([0.0, 0.1]),
        isl_tokens=np.array([5, 6]),
        osl_tokens=np.array([7, 8]),
        follows=np.array([NOBODY, NOBODY]),
        session=np.array([NOBODY, NOBODY]),
        class_index=np.array([0, 0]),
    )


def test_columns_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    write_requests(small(), tmp_path / "r.csv")
    lines = (tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# tokenroof requests: {")
    assert lines[1:] == ["arrival_s,isl_tokens,osl_tokens", "0.0,5,7", "0.1,6,8"]


def test_the_same_requests_are_the_same_bytes(tmp_path: Path) -> None:
    for ending in (".csv", ".csv.gz", ".parquet"):
        for name in ("a", "b"):
            write_requests(small(), tmp_path / f"{name}{ending}")
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_writing_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.json: requests are written as \.csv, \.csv\.gz or \.parquet"):
        write_requests(small(), tmp_path / "r.json")
    with pytest.raises(InputError, match=r"cannot be written \(No such file or directory\)"):
        write_requests(small(), tmp_path / "no" / "r.csv")
    twins = Requests(
        **{name: getattr(small(), name) for name in COLUMNS}, classes=(RequestClass(), RequestClass())
    )
    with pytest.raises(InputError, match="classes need names that differ"):
        write_requests(twins, tmp_path / "r.csv")


def test_three_columns_by_hand_are_enough(tmp_path: Path) -> None:
    trace = by_hand(tmp_path, "osl_tokens, isl_tokens ,arrival_s,remark\n20,10,0,x\n40, 30,1.5,\n")
    requests = trace.requests(0)
    assert requests.isl_tokens.tolist() == [10, 30]
    assert requests.arrival_s.tolist() == [0.0, 1.5]
    assert requests.classes == (RequestClass(),)
    assert (requests.label, requests.source) == ("mine", "mine.csv (requests)")


def test_the_file_of_the_documentation_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/howto/bring-a-trace.md").read_text(encoding="utf-8")
    requests = by_hand(tmp_path, page.partition("```csv\n")[2].partition("```")[0]).requests(0)
    assert requests.arrival_s.tolist() == [0.0, 0.35, 4.31]
    assert [kind.name for kind in requests.classes] == ["chat", "batch"]
    assert requests.session.tolist() == [0, NOBODY, 0]
    assert all(f"| `{name}` |" in page for name in FORMATS)


def test_classes_sessions_and_priorities_by_hand(tmp_path: Path) -> None:
    text = f"{HEAD},class,priority,session\n0,1,1,batch,5,ann\n1,2,2,chat,0,\n2,3,3,batch,5,bob\n"
    requests = by_hand(tmp_path, text).requests(0)
    assert requests.classes == (RequestClass(name="batch", priority=5), RequestClass(name="chat"))
    assert requests.class_index.tolist() == [0, 1, 0]
    assert requests.session.tolist() == [0, NOBODY, 1]
    urgent = by_hand(tmp_path, "arrival_s,isl_tokens,osl_tokens,priority\n0,1,1,3\n1,2,2,0\n").requests(0)
    assert [urgent.classes[index].priority for index in urgent.class_index] == [3, 0]


def test_conversations_and_prefixes_by_hand(tmp_path: Path) -> None:
    text = "arrival_s,isl_tokens,osl_tokens,follows,prefix_ids\n5,40,1,,900 70\n1,60,1,0,900 70 3\n0,9,1,,\n"
    with pytest.raises(InputError, match=r"prefix_ids without a block size\. Read it with Own\(block_tokens"):
        by_hand(tmp_path, text, sort=True)
    requests = by_hand(tmp_path, text, format=Own(block_tokens=16), sort=True).requests(0)
    assert requests.isl_tokens.tolist() == [9, 40, 60]
    assert requests.follows.tolist() == [NOBODY, NOBODY, 1]
    assert requests.prefixes is not None
    assert requests.prefixes.start.tolist() == [0, 0, 2, 5]
    assert requests.prefixes.ids.tolist() == [2, 1, 2, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{HEAD},follows\n0,1,1,\n1,1,1,1\n",
            r"line 3: follows must be an earlier row, counted from 0, got 1",
        ),
        (f"{HEAD},follows\n0,1,1,\n1,1,1,0\n1,1,1,0\n", r"line 4: row 0 is followed twice"),
        (
            f"{HEAD},priority\n0,1,1,9\n",
            r"line 2: priority must be a whole number from 0 \(first\) to 7, got 9",
        ),
        (
            f"{HEAD},class,priority\n0,1,1,a,1\n1,1,1,a,2\n",
            r"line 3: class 'a' has priority 2 here and another",
        ),
        (f"{HEAD},class\n0,1,1,a\n1,1,1,\n", r"line 3: class is blank"),
        (f"{HEAD},prefix_ids\n0,1,1,3 x\n", r"line 2: prefix_ids must be whole numbers .* got '3 x'"),
        (f"# tokenroof requests: {{oops\n{HEAD}\n0,1,1\n", r"line 1: the head is no JSON"),
        (
            f'# tokenroof requests: {{"rate": 1}}\n{HEAD}\n0,1,1\n',
            r"line 1: the head must be a JSON object of",
        ),
        (
            f'# tokenroof requests: {{"concurrency": 0}}\n{HEAD}\n0,1,1\n',
            r"concurrency of the head cannot be 0",
        ),
        (
            f'# tokenroof requests: {{"classes": [{{"name": "a", "ttft_s": -1}}]}}\n{HEAD}\n0,1,1\n',
            "ttft_s must",
        ),
        (
            f'# tokenroof requests: {{"classes": [{{"name": "a"}}]}}\n{HEAD},class\n0,1,1,b\n',
            r"line 3: unknown class 'b'\. Known: a",
        ),
    ],
)
def test_contradictions_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        by_hand(tmp_path, text, format=Own(block_tokens=16))


def test_parquet_of_other_types_is_read_or_refused(tmp_path: Path) -> None:
    import polars as pl

    frame = pl.DataFrame(
        {"arrival_s": [0, 1], "isl_tokens": [1, 2], "osl_tokens": [3, 4], "session": ["b", None]}
    )
    frame.write_parquet(tmp_path / "p.parquet")
    requests = read(tmp_path / "p.parquet").requests(0)
    assert requests.session.tolist() == [0, NOBODY]
    frame.with_columns(isl_tokens=pl.Series([1, None])).write_parquet(tmp_path / "null.parquet")
    with pytest.raises(InputError, match=r"null\.parquet: row 2: isl_tokens must be a number, got None"):
        read(tmp_path / "null.parquet")
    frame.drop("osl_tokens").write_parquet(tmp_path / "less.parquet")
    with pytest.raises(InputError, match=r"no column 'osl_tokens', which is needed"):
        read(tmp_path / "less.parquet")
    frame.clear().write_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="columns and no requests"):
        read(tmp_path / "none.parquet")
    whole = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.parquet: damaged Parquet file"):
        read(tmp_path / "cut.parquet")
