"""``tokenroof validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tokenroof.cli.options as o
from tokenroof.cli.output import check_apart, console, notes, pairs

NOTHING_PREDICTED = 3
_WHICH, _OUT, _RUN = "Rows", "Output", "Run"


def validate(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="Measured runs: CSV with columns as in docs/howto/validate.md, or what a benchmark client "
            "wrote; repeatable. Default: the rows that come with the repository.",
            metavar="FILE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            help="Columns to group errors by, together and each alone.",
            metavar="COLUMN,...",
            rich_help_panel=_OUT,
        ),
    ] = "hardware,model,framework",
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="What a column is in every row, whatever the file says: hardware=h100; repeatable.",
            metavar="COLUMN=VALUE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            help="Rows that say one of these: quality=A,B; repeatable, all must hold.",
            metavar="COLUMN=VALUE,...",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    catalogs: o.Catalogs = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes. Default: one per core.", rich_help_panel=_RUN),
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", help="So many of the worst rows.", rich_help_panel=_OUT)
    ] = 10,
    json: o.Json = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the page with charts.", rich_help_panel=_OUT)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Directory for report.json, report.html and rows.csv.",
            metavar="DIR",
            rich_help_panel=_OUT,
        ),
    ] = None,
) -> None:
    """Simulate measured servings and say how far the predictions are off; exit code 3 when no row could be.

    tokenroof validate --data my-runs.csv --by hardware,model --html report.html
    """
    from tokenroof.api.answer import check_suffix

    if html is not None:
        check_suffix(html, (".html",))
    check_apart({"--html": html, "--out": out})
    from tokenroof.api.validation import validate as ask

    report = ask(
        data or None,
        by=by,
        given=pairs("--set", sets),
        where={name: value.split(",") for name, value in pairs("--where", where).items()},
        catalog=catalogs or (),
        worst=worst,
        workers=workers,
        progress=True,
    )
    if json:
        typer.echo(report.json())
    else:
        console().print(report.tables())
    if html is not None:
        _wrote(report.save(html))
    if out is not None:
        for path in report.save_all(out):
            _wrote(path)
    if not report.feasible:
        raise typer.Exit(code=NOTHING_PREDICTED)


def _wrote(path: Path) -> None:
    notes().print(f"wrote {path}", markup=False)
