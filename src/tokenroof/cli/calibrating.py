"""``tokenroof calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import tokenroof.cli.options as o
from tokenroof.cli.output import console, notes, pairs

NOTHING_FITTED = 3
_WHICH, _WHAT, _OUT, _RUN = "Rows", "Parameters", "Output", "Run"


def calibrate(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="Measured runs: CSV with columns as in docs/howto/validate.md, or what a benchmark client "
            "wrote; repeatable.",
            metavar="FILE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    operators: Annotated[
        Path | None,
        typer.Option(
            "--operators",
            help="Directory of measured operators: Parquet tables as in calibration/measured.",
            metavar="DIR",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="What a column is in every row, whatever the file says: hardware=h100; repeatable.",
            metavar="COLUMN=VALUE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    parameters: Annotated[
        str,
        typer.Option(
            "--parameters",
            help="Those to fit: time_gemm:h100,step_overhead_s:vllm. Default: those that the rows can tell.",
            metavar="NAME:SCOPE,...",
            rich_help_panel=_WHAT,
        ),
    ] = "",
    scopes: Annotated[
        str,
        typer.Option(
            "--scopes",
            help="Where they apply when chosen by rule: narrow (chips of the rows) or wide (engines, "
            "vendors, families).",
            rich_help_panel=_WHAT,
        ),
    ] = "narrow",
    afresh: Annotated[
        bool,
        typer.Option(
            "--afresh",
            help="Begin with parameters that change nothing, not with the catalog's.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    cv: Annotated[
        str,
        typer.Option(
            "--cv",
            help="What rows are left out by in cross-validation: hardware, model, framework, shape, row; "
            "'' for none.",
            metavar="CUT,...",
            rich_help_panel=_RUN,
        ),
    ] = "hardware,model,framework,shape",
    catalogs: o.Catalogs = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes. Default: one per core.", rich_help_panel=_RUN),
    ] = None,
    json: o.Json = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write a catalog directory (tuning.csv, efficiency/, calibration.json) for --catalog.",
            metavar="DIR",
            rich_help_panel=_OUT,
        ),
    ] = None,
) -> None:
    """Fit parameters of chips and engines to measurements of your own; exit code 3 when these identify none.

    tokenroof calibrate --data my-runs.csv --out my-catalog
    """
    from tokenroof.api.calibration import calibration as ask
    from tokenroof.api.calibration import writable

    if out is not None:
        writable(out)  # before minutes of fitting
    found = ask(
        data or None,
        operators=operators,
        given=pairs("--set", sets),
        parameters=parameters,
        scopes=scopes,
        afresh=afresh,
        cv=cv,
        catalog=catalogs or (),
        workers=workers,
        progress=True,
    )
    if json:
        typer.echo(found.json())
    else:
        console().print(found.tables())
    if not found.feasible:
        raise typer.Exit(code=NOTHING_FITTED)
    if out is not None:
        for path in found.save(out):
            notes().print(f"wrote {path}", markup=False)
