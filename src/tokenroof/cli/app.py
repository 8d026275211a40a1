"""The commands, put together."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

import tokenroof
import tokenroof.cli.calibrating as calibrating
import tokenroof.cli.catalog as catalog
import tokenroof.cli.estimating as estimating
import tokenroof.cli.models as models
import tokenroof.cli.planning as planning
import tokenroof.cli.runs as runs
import tokenroof.cli.simulating as simulating
import tokenroof.cli.validating as validating

app = typer.Typer(
    name="tokenroof",
    help="How fast, how much memory, how many chips, what cost, what energy, what carbon, and why: "
    "LLM inference on any hardware, existing or imagined.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tokenroof {tokenroof.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass


_TEACHES_CHIPS = {"allow_extra_args": True}  # what stands alone is refused by the command, in better words

app.command("estimate", context_settings=_TEACHES_CHIPS)(estimating.estimate)
app.command("explain", context_settings=_TEACHES_CHIPS)(estimating.explain)
app.command("simulate", context_settings=_TEACHES_CHIPS)(simulating.simulate)
app.command("capacity", context_settings=_TEACHES_CHIPS)(simulating.capacity)
app.command("plan")(planning.plan)
app.command("validate")(validating.validate)
app.command("calibrate")(calibrating.calibrate)
for _group in catalog.GROUPS:
    app.add_typer(_group)
app.add_typer(models.group)
app.add_typer(runs.group)


def command() -> TyperGroup:
    """The whole command line, ready to run."""
    found = typer.main.get_command(app)
    assert isinstance(found, TyperGroup)
    return found
