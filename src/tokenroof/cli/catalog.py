"""``tokenroof chips list|show`` and the like: what is known, and from where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenroof.cli.options import Catalogs
from tokenroof.cli.output import Cells, print_table
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from tokenroof.api.lookup import Catalog

Lister = Callable[["Catalog", str], tuple[Cells, list[Cells]]]
Shower = Callable[["Catalog", str], None]

Text = Annotated[str, typer.Argument(help="Words to search for; all by default.", metavar="[TEXT]")]
Name = Annotated[str, typer.Argument(help="Its name or another spelling of it.", metavar="NAME")]


def group(name: str, what: str, lister: Lister, shower: Shower) -> typer.Typer:
    """A command with ``list`` and ``show``."""
    made = typer.Typer(name=name, help=f"{what}: list, search, show with sources.", no_args_is_help=True)

    @made.command("list", help=f"List {what.lower()}, or those that match TEXT.")
    def _list(text: Text = "", catalogs: Catalogs = None) -> None:
        headings, rows = lister(open_catalog(catalogs), text)
        print_table(headings, rows)
        if not rows:
            raise InputError(f"no {name} match {text!r}. List all with 'tokenroof {name} list'.")

    @made.command("show", help="Every figure with unit, range, claim and source.")
    def _show(name: Name, catalogs: Catalogs = None) -> None:
        shower(open_catalog(catalogs), name)

    return made


def open_catalog(directories: Sequence[Path] | None) -> Catalog:
    """The catalog with the user's directories laid over it."""
    from tokenroof.api.lookup import load_catalog

    return load_catalog(directories or ())


def _chips(catalog: Catalog, text: str) -> tuple[Cells, list[Cells]]:
    from tokenroof.cli.show import first_value, value_text

    rows: list[Cells] = []
    for name in catalog.search(text):
        chip = catalog.chip(name)
        rows.append(
            (
                name,
                chip.title + (" (projection)" if chip.projection else ""),
                chip.vendor,
                str(chip.year),
                "\n".join(f"{value_text(tier.marketed_capacity_bytes)} {tier.name}" for tier in chip.memory),
                "\n".join(value_text(tier.bandwidth_bytes_per_s) for tier in chip.memory),
                first_value(chip.peak_flop_per_s, ("bf16", "fp16", "fp32")),
                first_value(chip.prices_usd_per_hour, ("cloud_median", "cloud_low")),
            )
        )
    return ("name", "chip", "maker", "year", "memory", "bandwidth", "bf16 peak", "price"), rows


def _show_chip(catalog: Catalog, name: str) -> None:
    from tokenroof.cli.show import show

    show(catalog, catalog.chip(name))


def _rows(kind_name: str, headings: Cells) -> Lister:
    """Lists a kind of named rows: name, title and the sort of thing."""

    def lister(catalog: Catalog, text: str) -> tuple[Cells, list[Cells]]:
        from tokenroof.api.lookup import Kind
        from tokenroof.cli.show import summary

        kind = Kind(kind_name)
        return headings, [summary(catalog, kind, name) for name in catalog.search(text, kind)]

    return lister


def _show_kind(kind_name: str) -> Shower:
    def shower(catalog: Catalog, name: str) -> None:
        from tokenroof.api.lookup import Kind
        from tokenroof.cli.show import item, show

        show(catalog, item(catalog, Kind(kind_name), name))

    return shower


def _prices(catalog: Catalog, text: str) -> tuple[Cells, list[Cells]]:
    from tokenroof.cli.show import figure_cells, prices

    words = text.lower().split()
    rows = [
        (name, *figure_cells(quantity))
        for name, quantity in prices(catalog).items()
        if all(word in f"{name} {quantity.source} {quantity.note}".lower() for word in words)
    ]
    return ("figure", "value", "range", "claim", "source", "note"), rows


def _show_price(catalog: Catalog, name: str) -> None:
    from tokenroof.cli.show import prices, show_figures
    from tokenroof.errors import UnknownNameError

    known = prices(catalog)
    found = {key: quantity for key, quantity in known.items() if name in (key, *key.split("."))}
    if not found:
        raise UnknownNameError("figure", name, {part for key in known for part in (key, *key.split("."))})
    show_figures(catalog, name, found)


GROUPS = (
    group("chips", "Chips", _chips, _show_chip),
    group(
        "memories",
        "Memory technologies",
        _rows("memory", ("name", "memory", "kind", "main figures")),
        _show_kind("memory"),
    ),
    group("links", "Links", _rows("link", ("name", "link", "kind", "main figures")), _show_kind("link")),
    group(
        "nodes", "Nodes, racks and pods", _rows("node", ("name", "node", "form", "chips")), _show_kind("node")
    ),
    group(
        "engines",
        "Serving engines",
        _rows("engine", ("name", "memory rule", "kernels", "limits")),
        _show_kind("engine"),
    ),
    group("prices", "Prices, energy and carbon", _prices, _show_price),
    group("sources", "Sources", _rows("source", ("id", "citation", "address", "date")), _show_kind("source")),
)
