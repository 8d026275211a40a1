"""One catalog item, every figure with its unit, range, claim, source and note."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from tokenroof.api.lookup import Catalog, Kind, Quantity
from tokenroof.cli.output import Cells, console, print_table
from tokenroof.report.tables import lines
from tokenroof.units import format_si

_NAMED = frozenset({"name", "title", "notes", "warnings"})
_HEADINGS = ("figure", "value", "range", "claim", "source", "note")
_SHOWN_FIGURES = 4  # figures of a row that fit in a list


def value_text(quantity: Quantity) -> str:
    """The value with a readable prefix."""
    return format_si(quantity.value, quantity.unit, digits=4)


def first_value(quantities: Mapping[str, Quantity], names: Sequence[str]) -> str:
    """The first of several figures that is known, else a dash."""
    return next((value_text(quantities[name]) for name in names if name in quantities), "-")


def range_text(quantity: Quantity) -> str:
    """Low to high, or a dash."""
    ends = [format_si(end, quantity.unit) for end in (quantity.low, quantity.high) if end is not None]
    return " to ".join(ends) or "-"


def figure_cells(quantity: Quantity) -> Cells:
    """Value, range, claim, source and note of a figure."""
    return (value_text(quantity), range_text(quantity), str(quantity.claim), quantity.source, quantity.note)


def item(catalog: Catalog, kind: Kind, name: str) -> object:
    """The item of a kind that a name or alias stands for."""
    readers = {
        Kind.CHIP: catalog.chip,
        Kind.MEMORY: catalog.memory,
        Kind.LINK: catalog.link,
        Kind.NODE: catalog.node,
        Kind.ENGINE: catalog.engine,
        Kind.MODEL: catalog.model,
        Kind.SOURCE: catalog.source,
    }
    return readers[kind](name)


def summary(catalog: Catalog, kind: Kind, name: str) -> Cells:
    """One line about an item, for a list."""
    match kind:
        case Kind.NODE:
            node = catalog.node(name)
            return name, node.title, node.form, str(node.chips_per_node)
        case Kind.ENGINE:
            engine = catalog.engine(name)
            limits = f"{engine.max_num_seqs} sequences, {engine.max_num_batched_tokens} tokens a step"
            return name, f"{engine.budget_rule} {engine.memory_fraction:g}", engine.kernels, limits
        case Kind.SOURCE:
            source = catalog.source(name)
            return name, source.citation, source.url, source.date
        case _:
            row = catalog.memory(name) if kind is Kind.MEMORY else catalog.link(name)
            shown = list(row.fields.items())[:_SHOWN_FIGURES]
            figures = ", ".join(f"{_spoken(field)} {value_text(quantity)}" for field, quantity in shown)
            return name, row.title + (" (projection)" if row.projection else ""), row.kind, figures


def _spoken(field: str) -> str:
    for suffix in ("_bytes_per_s", "_j_per_byte", "_flop_per_s", "_kgco2e", "_bytes", "_w", "_s"):
        field = field.removesuffix(suffix)
    return field.replace("_", " ")


def prices(catalog: Catalog) -> dict[str, Quantity]:
    """Every money, energy and carbon figure as "group.field", and every chip's price as "chip.plan"."""
    found = {
        f"{group}.{field}": quantity
        for group, fields in catalog.economics().groups.items()
        for field, quantity in fields.items()
    }
    for name in catalog.chips():
        found |= {
            f"{name}.{plan}": quantity for plan, quantity in catalog.chip(name).prices_usd_per_hour.items()
        }
    return found


def show(catalog: Catalog, thing: object) -> None:
    """Print an item: its title, every figure, its notes, and the sources it rests on."""
    rows = list(_figures("", thing))
    fields = _fields(thing)
    title = " ".join(str(fields[key]) for key in ("name", "title") if fields.get(key))
    print_table(_HEADINGS, rows, title=title)
    notes = fields.get("notes") or fields.get("warnings")
    if isinstance(notes, tuple) and notes:
        console().print(lines("Notes", [str(note) for note in notes]))
    print_sources(catalog, [row[4] for row in rows])


def show_figures(catalog: Catalog, title: str, figures: Mapping[str, Quantity]) -> None:
    """Print figures and the sources they rest on."""
    print_table(_HEADINGS, [(name, *figure_cells(each)) for name, each in figures.items()], title=title)
    print_sources(catalog, [each.source for each in figures.values()])


def print_sources(catalog: Catalog, ids: Sequence[str]) -> None:
    """Print the citation behind each source id."""
    out = console()
    known = [id for id in dict.fromkeys(ids) if id]
    if known:
        out.print(Text("Sources", style="bold"))
    for id in known:
        source = catalog.source(id)
        details = ", ".join(part for part in (source.url, source.licence, source.date) if part)
        out.print(Text(f"  - {id}: {source.citation}" + (f" ({details})" if details else "")))


def _fields(thing: object) -> dict[str, object]:
    """Fields of a frozen value, in order, not copied deeply."""
    assert dataclasses.is_dataclass(thing)
    return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}


def _figures(prefix: str, thing: object) -> Iterator[Cells]:
    for name, value in _fields(thing).items():
        if not prefix and name in _NAMED:
            continue
        yield from _cells(f"{prefix}{name}", value)


def _cells(path: str, value: object) -> Iterator[Cells]:
    match value:
        case None | "" | ():
            return
        case Quantity():
            yield (path, *figure_cells(value))
        case Mapping():
            for key, each in value.items():
                yield from _cells(str(key) if path == "fields" else f"{path}.{key}", each)
        case tuple() if any(dataclasses.is_dataclass(each) for each in value):
            for index, each in enumerate(value):
                label = _fields(each).get("name") or index
                yield from _figures(f"{path}.{label}.", each)
        case tuple():
            yield path, ", ".join(str(each) for each in value), "-", "", "", ""
        case _ if dataclasses.is_dataclass(value):
            yield from _figures(f"{path}.", value)
        case _:
            source = str(value) if path == "source" else ""
            yield path, _plain(value), "-", "", source, ""


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.15g}" if isinstance(value, float) else str(value)
