"""Whatever stands in a cell, there is an outcome: a prediction or a reason, and never a crash."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st
from validation_rows import KINDS, SMALL, shipped

import tokenroof as tr
from tokenroof.calibrate.validation.files import rows_from
from tokenroof.calibrate.validation.run import outcome_of
from tokenroof.report.validation import document

CATALOG = tr.load_catalog()
ROWS = shipped(*KINDS)
COLUMNS = sorted(
    {column for row in ROWS for column in row if not column.startswith(("id", "source", "date"))}
)
CELLS = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "3", "1e30", "nan", "inf", "-inf", "1e-300", "0.5", "9" * 400, "true", "=tp", "=conc"]
    ),
    st.sampled_from(
        ["closed:conc=0", "closed:conc=99999999", "open:rps=0/0", "open:rps=999999999", "offline:max", "x"]
    ),
    st.text(max_size=20),
    st.integers(-10, 10**6).map(str),
)


@settings(max_examples=150)
@given(
    place=st.integers(0, len(ROWS) - 1),
    cells=st.dictionaries(st.sampled_from(COLUMNS), CELLS, min_size=1, max_size=3),
)
@example(place=0, cells={"load": "closed:conc=99999999"})
@example(place=0, cells={"load": "open:rps=999999999", "max_num_seqs": ""})
@example(place=0, cells={"load": "closed:conc=9999999999999999999999"})
@example(place=0, cells={"load": "open:rps=1 (stages 9999999999 s)", "max_num_seqs": ""})
@example(place=0, cells={"osl": "1e30", "osl_mean": ""})
@example(place=0, cells={"spec_decoding": "eagle k=9999999"})
@example(place=0, cells={"num_gpus": "9999999", "tp": ""})
@example(place=7, cells={"n_requests": "9999999", "isl_mean": "100000"})
def test_mutated_cells_never_crash(place: int, cells: dict[str, str]) -> None:
    ((row, _),) = rows_from([ROWS[place] | cells])
    outcome = outcome_of(row, CATALOG)
    assert "report it" not in outcome.reason, outcome.reason
    assert bool(outcome.predicted) != bool(outcome.reason)


@settings(max_examples=60)
@given(
    cut=st.integers(1, 400),
    text=st.text(alphabet=st.sampled_from('",\n\r;abc123\x00é'), max_size=12),
)
def test_a_mutated_file_is_refused_in_one_line_or_answered(cut: int, text: str) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(SMALL), lineterminator="\n")
    writer.writeheader()
    writer.writerows([SMALL | {"tp": "3"}] * 2)  # never simulated: this is about the file
    whole = out.getvalue()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text(whole[:cut] + text + whole[cut:], encoding="utf-8", newline="")
        try:
            report = tr.validate(path, by="model", workers=1)
        except tr.InputError as error:
            said = str(error)
        else:
            said = ""
            told = document(report.found)
            assert told["coverage"]["rows"] == len(told["rows"])
            json.dumps(told, allow_nan=False)
        assert "\n" not in said
