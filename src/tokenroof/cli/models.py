"""``tokenroof models list|show|import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenroof.cli.catalog import Name, Text, open_catalog
from tokenroof.cli.options import Catalogs
from tokenroof.cli.output import console, notes, print_table
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from tokenroof.api.lookup import Catalog, ModelSpec

group = typer.Typer(name="models", help="Models: list, search, show, import your own.", no_args_is_help=True)

_HEADINGS = ("name", "Hugging Face", "parameters", "active", "layers", "cache/token", "context", "weights")


@group.command("list")
def _list(text: Text = "", catalogs: Catalogs = None) -> None:
    """List models, or those that match TEXT."""
    from tokenroof.api.lookup import Kind

    catalog = open_catalog(catalogs)
    found = catalog.search(text, Kind.MODEL)
    if not found:
        raise InputError(f"no models match {text!r}. List all with 'tokenroof models list'.")
    print_table(_HEADINGS, [_line(catalog, name) for name in found])


def _line(catalog: Catalog, name: str) -> tuple[str, ...]:
    from tokenroof.api.lookup import model_figures
    from tokenroof.report.human import human

    model = catalog.model(name)
    figures = model_figures(model)
    cache = figures[f"cache per token ({model.precision.kv})"][0]
    return (
        name,
        model.hf_id,
        _count(figures["parameters"][0]),
        _count(figures["active parameters per token"][0]),
        str(model.num_layers),
        human(cache, "bytes"),
        f"{model.max_context_tokens:,}",
        model.precision.weights,
    )


def _count(parameters: float) -> str:
    """Parameters in millions or billions."""
    return f"{parameters / 1e9:.4g} B" if parameters >= 1e9 else f"{parameters / 1e6:.4g} M"


@group.command("show")
def _show(name: Name, catalogs: Catalogs = None) -> None:
    """What a model counts to: layers, parameters, cache, formats, warnings, source."""
    catalog = open_catalog(catalogs)
    _describe(catalog, catalog.model(name))


@group.command("import")
def _import(
    path: Annotated[
        Path, typer.Argument(help="A Hugging Face config.json, or its directory.", metavar="PATH")
    ],
    name: Annotated[str, typer.Option("--name", help="What to call it. Default: after the file.")] = "",
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write it into this catalog directory, for --catalog.", metavar="DIR"),
    ] = None,
    catalogs: Catalogs = None,
) -> None:
    """Read a config.json and say what it counts to; with --save, keep it in a catalog of your own."""
    from tokenroof.api.answer import writing
    from tokenroof.api.lookup import check_model_name, import_model, model_file

    model = import_model(path, name=name)
    if save is not None:
        check_model_name(model.name)
    _describe(open_catalog(catalogs), model)
    if save is not None:
        file = save / "models" / f"{model.name}.json"
        text = model_file(path)
        with writing(file):
            file.write_text(text, encoding="utf-8")
        notes().print(
            f"wrote {file}; use it with: tokenroof estimate --catalog {save} --model {model.name}",
            markup=False,
        )


def _describe(catalog: Catalog, model: ModelSpec) -> None:
    import dataclasses

    from tokenroof.api.lookup import model_figures
    from tokenroof.cli.show import print_sources
    from tokenroof.report.human import human
    from tokenroof.report.tables import lines

    rows = [("architecture", model.architecture)]
    for group_ in model.layers:
        parts = [type(mixer).__name__ for mixer in group_.mixers]
        parts += [type(group_.ffn).__name__] if group_.ffn is not None else []
        rows.append((f"{group_.count} layers of", " + ".join(parts)))
    for label, (value, unit) in model_figures(model).items():
        text = f"{value:,.0f} ({_count(value)})" if unit == "parameters" else human(value, unit)
        rows.append((label, text))
    for role, text in dataclasses.asdict(model.precision).items():
        if text:
            rows.append((f"format of {role}", text))
    if model.hf_id:
        rows.append(("Hugging Face", model.hf_id))
    print_table(("", ""), rows, title=f"model {model.name}")
    if model.warnings:
        console().print(lines("Warnings", model.warnings))
    if model.source in catalog.sources():
        print_sources(catalog, [model.source])
    elif model.source:
        console().print(f"Source: {model.source}", markup=False)
