"""A run on the disk: what was put is there, the same question gives the same bytes, others are refused."""

import json
import os

import polars as pl
import pytest

from small_runs import QUESTION, content, key, run, simulation
from tokenroof.api.runs import identity as identities
from tokenroof.api.runs.reading import State, read_question, read_run, read_table
from tokenroof.api.runs.store import RunStore, parquet
from tokenroof.errors import InputError, UnknownNameError


def test_what_was_put_is_there(tmp_path):
    with RunStore(tmp_path / "a", QUESTION) as store:
        store.put("x", simulation(3))
        assert store.get("x") == simulation(3)
        assert store.get("y") is None
    with RunStore(tmp_path / "a", QUESTION, resume=True) as store:
        assert len(store) == 1
        assert store.get("x") == simulation(3)


def test_a_record_reads_the_same_before_and_after_a_restart(tmp_path):
    record = {"pair": (1, 2.5), "inf": float("inf"), "tiny": 5e-324, "third": 1 / 3}
    with RunStore(tmp_path / "a", QUESTION) as store:
        store.put("x", record)
        before = store.get("x")
    with RunStore(tmp_path / "a", QUESTION, resume=True) as store:
        assert store.get("x") == before == {**record, "pair": [1, 2.5]}


def test_the_same_again_is_kept_once_and_another_value_is_a_fault(tmp_path):
    with RunStore(tmp_path / "a", QUESTION) as store:
        store.put("x", {"value": 1.0})
        store.put("x", {"value": 1.0})
        with pytest.raises(RuntimeError, match="not deterministic"):
            store.put("x", {"value": 1.0000000001})
    assert read_run(tmp_path / "a").records == 1


@pytest.mark.parametrize("record", [{1: "a"}, {"deep": [{"er": {2: 0}}]}, {"set": {1}}])
def test_a_record_that_would_come_back_as_another_is_refused(tmp_path, record):
    with RunStore(tmp_path / "a", QUESTION) as store, pytest.raises(TypeError):
        store.put("x", record)


def test_a_run_says_what_it_holds(tmp_path):
    found = read_run(run(tmp_path / "squares"))
    assert (found.name, found.state, found.label, found.records) == (
        "squares",
        State.COMPLETE,
        "squares",
        20,
    )
    assert {name: note.rows for name, note in found.tables.items()} == {"choices": 20, "front": 1}
    assert found.active_s > 0.0
    assert read_question(found.path) == QUESTION
    assert read_table(found.path, "front")["label"].to_list() == ["n°0"]
    assert read_table(found.path, "choices")["label"][0] == "n°19"


def test_two_runs_of_one_question_have_the_same_bytes(tmp_path):
    assert content(run(tmp_path / "a")) == content(run(tmp_path / "b"))


def test_the_bytes_of_a_table_depend_on_its_rows_alone():
    whole = pl.DataFrame({"n": range(1000), "x": [n / 7 for n in range(1000)], "t": [["a", "b"]] * 1000})
    pieces = pl.concat([whole[:1], whole[1:700], whole[700:]], rechunk=False)
    assert pieces.n_chunks() == 3
    assert parquet(pieces) == parquet(whole)
    assert parquet(whole.reverse()) != parquet(whole)


def test_a_run_is_not_begun_twice(tmp_path):
    run(tmp_path / "a")
    with pytest.raises(InputError, match=r"holds a complete run.*--resume"):
        RunStore(tmp_path / "a", QUESTION)
    with RunStore(tmp_path / "b", QUESTION):
        pass
    with pytest.raises(InputError, match="holds a run that is not complete"):
        RunStore(tmp_path / "b", QUESTION)


def test_another_question_is_refused_by_what_differs(tmp_path):
    run(tmp_path / "a")
    other = {**QUESTION, "slo": {"ttft_s": 2.0, "tpot_s": 0.04}, "rate": 3}
    with pytest.raises(InputError, match=r"slo.ttft_s was 1.0, is 2.0; rate was nothing, is 3\. "):
        RunStore(tmp_path / "a", other, resume=True)


def test_the_order_of_keys_is_no_other_question(tmp_path):
    run(tmp_path / "a")
    with RunStore(tmp_path / "a", dict(reversed(QUESTION.items())), resume=True) as store:
        assert len(store) == 20


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("code", "0" * 16, "the code has changed (0000000000000000 is now "),
        ("catalog", "1" * 16, "the catalog has changed"),
        ("version", "0.0.9", "tokenroof 0.0.9 is now "),
        ("libraries", {"numpy": "1.0"}, "numpy 1.0 is now "),
        ("files", {"my.csv": "2" * 16}, "the file my.csv has changed"),
    ],
)
def test_what_was_made_otherwise_is_refused_by_what_differs(tmp_path, part, value, said):
    run(tmp_path / "a")
    file = tmp_path / "a" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {part: value}))
    with pytest.raises(InputError) as refused:
        RunStore(tmp_path / "a", QUESTION, resume=True)
    assert said in str(refused.value)
    assert "another directory" in str(refused.value)


def test_a_run_of_another_kind_is_refused(tmp_path):
    run(tmp_path / "a")
    with pytest.raises(InputError, match="holds a plan, not a sweep"):
        RunStore(tmp_path / "a", QUESTION, kind="sweep", resume=True)


def test_a_file_of_the_user_decides_too(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("1,2\n")
    run(tmp_path / "a", files=[trace])
    run(tmp_path / "a", files=[trace], resume=True)
    trace.write_text("1,3\n")
    with pytest.raises(InputError, match=r"the file .*trace\.csv has changed"):
        run(tmp_path / "a", files=[trace], resume=True)
    trace.unlink()
    with pytest.raises(InputError, match=r"cannot read .*trace\.csv"):
        run(tmp_path / "a", files=[trace], resume=True)


def test_the_hash_of_the_code_is_of_what_decides_figures(tmp_path, monkeypatch):
    for name in ("serve/kernel.py", "report/text.py", "catalog/data/prices.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(identities, "PACKAGE", tmp_path)

    def changed():
        identities._of_package.cache_clear()  # as in another process
        return identities.differences(before, identities.identity({}))

    before = identities.identity({})
    (tmp_path / "report/text.py").write_text("2")
    assert changed() == ()
    (tmp_path / "serve/kernel.py").rename(tmp_path / "serve/other.py")
    assert [line.partition(" (")[0] for line in changed()] == ["the code has changed"]
    (tmp_path / "serve/other.py").rename(tmp_path / "serve/kernel.py")
    (tmp_path / "catalog/data/prices.yaml").write_text("2")
    assert [line.partition(" (")[0] for line in changed()] == ["the catalog has changed"]


def test_an_edited_question_is_not_gone_on_with(tmp_path):
    run(tmp_path / "a")
    file = tmp_path / "a" / "question.yaml"
    file.write_text(file.read_text().replace("1.0", "2.0"))
    found = read_run(tmp_path / "a")
    assert found.state is State.DAMAGED
    assert "it was edited" in found.problem


def test_a_damaged_table_is_said_and_written_again(tmp_path):
    path = run(tmp_path / "a")
    good = content(path)
    (path / "front.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"front.parquet: damaged.*resume"):
        read_table(path, "front")
    run(path, resume=True)
    assert content(path) == good


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown table 'fronts'. Nearest: front"):
        read_table(run(tmp_path / "a"), "fronts")
    with RunStore(tmp_path / "b", QUESTION):
        pass
    with pytest.raises(InputError, match="not complete"):
        read_table(tmp_path / "b", "front")


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    def full(number, line, write=os.write):
        write(number, line[: len(line) // 2])
        raise OSError(28, "No space left on device")

    with RunStore(tmp_path / "a", QUESTION) as store:
        store.put(key(0), simulation(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(InputError, match="No space left on device"):
                store.put(key(1), simulation(1))
        assert store.get(key(1)) is None
        store.put(key(2), simulation(2))
    with RunStore(tmp_path / "a", QUESTION, resume=True) as store:
        assert [store.get(key(number)) for number in range(3)] == [simulation(0), None, simulation(2)]


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        RunStore(tmp_path / "file" / "a", QUESTION)
    with pytest.raises(InputError, match="cannot write"):
        RunStore(tmp_path / "file", QUESTION)
