"""``tokenroof runs list|show|compare|export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenroof.api.runs.files import RUNS
from tokenroof.cli.options import Json
from tokenroof.cli.output import console, notes, print_table
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from tokenroof.api.runs.export import Form
    from tokenroof.api.runs.index import Entry
    from tokenroof.api.runs.reading import Run

group = typer.Typer(
    name="runs", help="Runs that were kept: list, show, compare, export.", no_args_is_help=True
)

SCHEMA = "tokenroof-runs/1"
_NAME = Annotated[str, typer.Argument(help="Its directory, or its name in --dir.", metavar="RUN")]
_OTHER = Annotated[str, typer.Argument(help="Another one.", metavar="RUN")]
_DIR = Annotated[Path, typer.Option("--dir", help="Where runs are kept.", metavar="DIR")]
_TABLES = Annotated[
    list[str] | None,
    typer.Option("--table", help="Which table: choices, front, rejected, ...; repeatable.", metavar="NAME"),
]


@group.command("list")
def _list(
    directory: Annotated[Path, typer.Argument(help="Where runs are kept.", metavar="[DIR]")] = RUNS,
    json: Json = False,
) -> None:
    """List the runs of a directory with their answers, and bring its runs.duckdb up to date for SQL."""
    from tokenroof.api.runs.index import INDEX, listing

    found = listing(directory)
    if found.unwritten:
        notes().print(f"{directory / INDEX} is not written: {found.unwritten}", markup=False)
    if json:
        _print_json(directory=str(directory), runs=[_entry_document(entry) for entry in found.entries])
        return
    if not found.entries:
        raise InputError(f"no runs in {str(directory)!r}. 'tokenroof plan --out DIR' keeps one.")
    headings = ("run", "state", "what", "began", "time", "simulations", "answer", "chips", "USD/Mtok")
    print_table(headings, [_entry_cells(entry) for entry in found.entries])
    for entry in found.entries:
        if entry.run.problem:
            notes().print(f"{entry.run.name}: {entry.run.problem}", markup=False)


def _entry_cells(entry: Entry) -> tuple[str, ...]:
    run = entry.run
    return (
        run.name,
        run.state.value,
        f"{run.kind} {run.label}".strip(),
        _when(run.began),
        _duration(run),
        str(run.records),
        entry.answer or "",
        _cell(entry.chips),
        _cell(entry.usd_per_million_tokens),
    )


@group.command("show")
def _show(
    name: _NAME,
    directory: _DIR = RUNS,
    tables: _TABLES = None,
    most: Annotated[int, typer.Option("--rows", help="Rows of a table at most.", min=1)] = 10,
    json: Json = False,
) -> None:
    """What a run was asked, what decided it, what came out; by default the table of its choices."""
    from tokenroof.api.runs.export import rows
    from tokenroof.api.runs.reading import read_question, read_table

    run = _whole(name, directory)
    question = read_question(run.path)
    wanted = list(tables or [each for each in ("choices",) if each in run.tables])
    frames = {each: read_table(run.path, each) for each in wanted}
    if json:
        results = {each: rows(frame) for each, frame in frames.items()}
        _print_json(run=_document(run), question=question, results=results)
        return
    import yaml

    print_table(("", ""), [each for each in _facts(run) if each[1]], run.name)
    console().print("Question", style="bold")
    console().print(yaml.safe_dump(question, sort_keys=False, allow_unicode=True), markup=False)
    for each, frame in frames.items():
        shown = rows(frame.head(most))
        _print_rows(f"{each}: {_first(len(shown), frame.height)}", shown)
        if each == "choices" and shown and shown[0].get("why"):
            from tokenroof.report.tables import lines

            console().print(lines("Why", shown[0]["why"]))


def _first(shown: int, every: int) -> str:
    return _rows(every) if shown == every else f"the first {shown} of {_rows(every)}"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _facts(run: Run) -> list[tuple[str, str]]:
    made_by, holder = run.identity, run.holder
    assert made_by is not None
    return [
        ("directory", str(run.path)),
        ("state", run.state.value + (f", process {holder.pid} on {holder.host}" if holder else "")),
        ("what", f"{run.kind} {run.label}".strip()),
        ("began", _when(run.began)),
        ("ended", _when(run.ended)),
        ("time", _duration(run)),
        ("simulations", str(run.records)),
        ("tables", ", ".join(f"{name} ({_rows(note.rows)})" for name, note in run.tables.items())),
        ("tokenroof", f"{made_by.version}, code {made_by.code}, catalog {made_by.catalog}"),
        ("libraries", ", ".join(f"{name} {version}" for name, version in made_by.libraries.items())),
        ("files", "\n".join(made_by.files)),
    ]


@group.command("compare")
def _compare(left: _NAME, right: _OTHER, directory: _DIR = RUNS, json: Json = False) -> None:
    """What differs between two complete runs: the question, the code and figures below, the answer."""
    from tokenroof.api.runs.comparison import compare
    from tokenroof.api.runs.reading import find_run
    from tokenroof.report.json import plain

    found = compare(find_run(left, directory), find_run(right, directory))
    if json:
        _print_json(
            runs=[_document(found.left), _document(found.right)],
            question=[{"key": key, "left": one, "right": two} for key, one, two in found.question],
            made_by=list(found.made_by),
            tables={name: {"same": same} for name, same in found.tables.items()},
            answer={
                each.name: plain({"left": each.left, "right": each.right, "fraction": each.fraction})
                for each in found.answer
            },
        )
        return
    names = _names(found.left, found.right)
    print_table(("question", *names), found.question, "")
    for line in found.made_by:
        console().print(f"made by: {line}", markup=False)
    answer = [
        (each.name, _cell(each.left), _cell(each.right), _percent(each.fraction, each.left == each.right))
        for each in found.answer
        if not _nested(each.left) and not _nested(each.right) and (each.left, each.right) != (None, None)
    ]
    print_table(("answer", *names, "change"), answer)
    print_table(
        ("table", *names, ""),
        [
            (name, *(_rows_of(run, name) for run in (found.left, found.right)), "same" if same else "differs")
            for name, same in found.tables.items()
        ],
    )


def _names(left: Run, right: Run) -> tuple[str, str]:
    return (left.name, right.name) if left.name != right.name else (str(left.path), str(right.path))


def _rows_of(run: Run, name: str) -> str:
    return _rows(run.tables[name].rows) if name in run.tables else "-"


@group.command("export")
def _export(
    name: _NAME,
    form: Annotated[str, typer.Option("--to", help="csv, json or parquet.", metavar="FORM")],
    directory: _DIR = RUNS,
    tables: _TABLES = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory for a file per table. Default: export/RUN.", metavar="DIR"),
    ] = None,
) -> None:
    """Write the tables of a complete run for other programs: all of them, or those of --table."""
    from tokenroof.api.runs.export import export

    asked = _form(form)
    run = _whole(name, directory)
    for path in export(run.path, asked, out if out is not None else Path("export") / run.name, tables or ()):
        notes().print(f"wrote {path}", markup=False)


def _form(text: str) -> Form:
    from tokenroof.api.runs.export import Form
    from tokenroof.errors import UnknownNameError

    if text not in list(Form):
        raise UnknownNameError("form", text, [form.value for form in Form])
    return Form(text)


# --- pieces --------------------------------------------------------------------------------------


def _whole(name: str, directory: Path) -> Run:
    """A run that is not damaged."""
    from tokenroof.api.runs.reading import State, find_run, read_run

    run = read_run(find_run(name, directory))
    if run.state is State.DAMAGED:
        raise InputError(run.problem)
    return run


def _print_json(**parts: Any) -> None:
    import json

    typer.echo(json.dumps({"schema": SCHEMA, **parts}, indent=2, ensure_ascii=False, allow_nan=False))


def _entry_document(entry: Entry) -> dict[str, Any]:
    from tokenroof.report.json import plain

    best = {"label": entry.answer, "chips": entry.chips}
    best["usd_per_million_tokens"] = plain(entry.usd_per_million_tokens)
    return {**_document(entry.run), "answer": best if entry.answer is not None else None}


def _document(run: Run) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "name": run.name,
        "path": str(run.path),
        "state": run.state.value,
        "problem": run.problem or None,
        "kind": run.kind or None,
        "label": run.label,
        "records": run.records,
        "began": run.began or None,
        "ended": run.ended or None,
        "active_s": run.active_s,
        "holder": asdict(run.holder) if run.holder else None,
        "made_by": asdict(run.identity) if run.identity else None,
        "tables": {
            name: {**asdict(note), "columns": list(note.columns)} for name, note in run.tables.items()
        },
    }


def _print_rows(title: str, shown: list[dict[str, Any]]) -> None:
    """Columns that hold a single value somewhere."""
    names = [
        name
        for name in (shown[0] if shown else ())
        if not any(_nested(row[name]) for row in shown) and any(row[name] is not None for row in shown)
    ]
    if not names:
        console().print(title, style="bold")
        return
    print_table(tuple(names), [tuple(_cell(row[name]) for name in names) for row in shown], title)


def _nested(value: Any) -> bool:
    return isinstance(value, list | dict)


def _cell(value: Any) -> str:
    from tokenroof.report.human import digits

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return digits(value) if isinstance(value, float) else str(value)


def _percent(fraction: float | None, same: bool) -> str:
    if same:
        return "same"
    return "" if fraction is None else f"{fraction:+.1%}"


def _when(text: str) -> str:
    return f"{text[:16].replace('T', ' ')} UTC" if text else ""


def _duration(run: Run) -> str:
    from tokenroof.report.human import human

    return human(run.active_s, "s") if run.active_s else ""
