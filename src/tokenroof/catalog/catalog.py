"""The catalog: chips, memories, links, nodes, engines, models, economics and sources, by name.

``load`` lays the user's directories over the packaged one. Nothing is read before it is asked for, and
nothing twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from tokenroof.catalog import build
from tokenroof.catalog.accuracy import Accuracy, load_accuracy
from tokenroof.catalog.chip_names import find_chip
from tokenroof.catalog.core import Chip, Economics, Engine, Node, Quantity, Row, Source
from tokenroof.catalog.efficiency import OpEfficiency, read
from tokenroof.catalog.efficiency import load as load_efficiencies
from tokenroof.catalog.files import nearest, normal_name, read_mapping
from tokenroof.catalog.layers import YAML_SUFFIXES, Kind, Layers
from tokenroof.catalog.model import ModelSpec, with_routing_skew
from tokenroof.catalog.model_names import find_model, read_model_name
from tokenroof.catalog.schema import USER_SOURCE
from tokenroof.catalog.tuning import Tuning
from tokenroof.catalog.tuning import load as load_tuning
from tokenroof.errors import CatalogError, InputError, UnknownNameError

PACKAGED = Path(__file__).parent / "data"
ENVIRONMENT_VARIABLE = "TOKENROOF_CATALOG"
_USER = Source(id=USER_SOURCE, citation="Given by the user, without a source.")

T = TypeVar("T")


class Catalog:
    """Everything that can be named, from several directories, the last one winning.

    Parameters
    ----------
    directories : sequence of Path
        Directories of the packaged layout (``chips/``, ``models/``, ``memories.yaml``, ...), lowest first.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self._layers = Layers(directories)
        self._items: dict[tuple[Kind, str], Any] = {}
        self._economics: Economics | None = None

    @property
    def directories(self) -> tuple[Path, ...]:
        """Every directory that is read, the packaged one first."""
        return self._layers.directories

    # --- names -------------------------------------------------------------------------------

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Every name of a kind, sorted."""
        return tuple(sorted(self._layers.index(kind)))

    def chips(self) -> tuple[str, ...]:
        """Names of all chips."""
        return self.names(Kind.CHIP)

    def memories(self) -> tuple[str, ...]:
        """Names of all memory technologies."""
        return self.names(Kind.MEMORY)

    def links(self) -> tuple[str, ...]:
        """Names of all links."""
        return self.names(Kind.LINK)

    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, racks and pods."""
        return self.names(Kind.NODE)

    def engines(self) -> tuple[str, ...]:
        """Names of all serving engines."""
        return self.names(Kind.ENGINE)

    def models(self) -> tuple[str, ...]:
        """Names of all models."""
        return self.names(Kind.MODEL)

    def sources(self) -> tuple[str, ...]:
        """Identifiers of all sources."""
        return self.names(Kind.SOURCE)

    def aliases(self, kind: Kind) -> dict[str, str]:
        """Other accepted spellings of a kind's names: alias to name."""
        return dict(self._layers.aliases(kind))

    def resolve(self, kind: Kind, given: str) -> str:
        """The catalog name that a name or alias stands for.

        Raises
        ------
        UnknownNameError
            No such name or alias.
        """
        return self._layers.resolve(kind, given)

    def search(self, text: str, kind: Kind = Kind.CHIP) -> tuple[str, ...]:
        """Names whose name, aliases, title, vendor or family hold every word of ``text``, sorted.

        The nearest spellings are returned when nothing matches.
        """
        words = text.lower().split()
        found = [name for name in self.names(kind) if all(w in self._searched(kind, name) for w in words)]
        if found:
            return tuple(found)
        spellings = {**{name: name for name in self.names(kind)}, **self._layers.aliases(kind)}
        return tuple(dict.fromkeys(spellings[near] for near in nearest(normal_name(text), spellings)))

    def _searched(self, kind: Kind, name: str) -> str:
        texts = [name, *(alias for alias, target in self._layers.aliases(kind).items() if target == name)]
        if kind is Kind.CHIP:
            chip = self.chip(name)
            texts += [chip.title, chip.vendor, chip.family, str(chip.year)]
            texts += [tier.technology for tier in chip.memory]
        elif kind is Kind.MODEL:
            texts.append(str(read_mapping(self._layers.file(kind, name)).get("hf_id", "")))
        else:
            _, fields = self._layers.fields(kind, name)
            texts += [str(fields.get(key, "")) for key in ("title", "kind", "form", "citation")]
        return " ".join(texts).lower()

    # --- items -------------------------------------------------------------------------------

    def chip(self, name: str) -> Chip:
        """A chip by name, alias, the path of a chip file (``./mine.yaml``), or as others write it.

        "NVIDIA H100 80GB HBM3" is ``h100``: see :func:`~tokenroof.catalog.chip_names.find_chip`.

        Raises
        ------
        UnknownNameError
            No catalog file defines it.
        InputError
            Memory, form factor or architecture in the name contradict every chip called so.
        CatalogError
            Its file, or one it extends, is malformed.
        """
        if name.endswith(YAML_SUFFIXES):
            path = Path(name)
            return self._read_chip(normal_name(path.stem), path, len(self.directories))
        spellings = self._spellings(Kind.CHIP)
        known = spellings.get(normal_name(name))
        return self._catalog_chip(known or find_chip(name, spellings, self._catalog_chip))

    def _catalog_chip(self, name: str) -> Chip:
        layer, path = self._layers.index(Kind.CHIP)[name][-1]
        return self._once(Kind.CHIP, name, lambda: self._read_chip(name, path, layer))

    def _spellings(self, kind: Kind) -> dict[str, str]:
        """Names and aliases of a kind, with the name each stands for."""
        names = self._layers.index(kind)
        aliases = {alias: name for alias, name in self._layers.aliases(kind).items() if name in names}
        return {**aliases, **{name: name for name in names}}

    def memory(self, name: str) -> Row:
        """A memory technology by name or alias."""
        return self._row(Kind.MEMORY, name, build.build_row)

    def link(self, name: str) -> Row:
        """A link by name or alias."""
        return self._row(Kind.LINK, name, build.build_row)

    def node(self, name: str) -> Node:
        """A node, rack or pod by name or alias."""
        return self._row(Kind.NODE, name, build.build_node)

    def engine(self, name: str) -> Engine:
        """A serving engine by name or alias."""
        return self._row(Kind.ENGINE, name, build.build_engine)

    def source(self, id: str) -> Source:
        """A source by identifier; "user" is always known."""
        return _USER if id == USER_SOURCE else self._row(Kind.SOURCE, id, build.build_source)

    def economics(self) -> Economics:
        """Every money, energy and carbon figure, the user's over ours, figure by figure."""
        if self._economics is None:
            groups: dict[str, dict[str, Quantity]] = {}
            for path, table in self._layers.tables("economics.yaml"):
                for group, given in table.items():
                    figures = build.build_group(given, path=path, name=group)
                    for field, figure in figures.items():
                        self._check_source(figure.source, f"{path}: {group}.{field}")
                    groups.setdefault(group, {}).update(figures)
            self._economics = Economics(groups=groups)
        return self._economics

    def model(self, name_or_path: str) -> ModelSpec:
        """A model by catalog name, Hugging Face id, or the path of a config.json or its directory.

        Raises
        ------
        UnknownNameError
            No such name, and no such file.
        CatalogError
            The catalog's file is malformed.
        InputError
            The given file is not a model config, or the name is that of a checkpoint in another format.
        """
        from tokenroof.catalog.hf import import_config, read_config

        given = Path(name_or_path)
        if given.suffix == ".json" or given.is_dir():
            named_by = given if given.is_dir() or given.stem != "config" else given.resolve().parent
            stem = named_by.name.removesuffix(".json") or given.resolve().name
            spec = import_config(read_config(given), name=normal_name(stem), source=USER_SOURCE)
            return with_routing_skew(spec, self.tuning.value("routing_skew"))
        found, formats = self.find_model(name_or_path)
        if formats:
            raise InputError(
                f"model {name_or_path!r} is {found.name!r} in the format {'-'.join(formats)}, which is given "
                f"apart. Write {found.name!r} and its format of weights (--weights)."
            )
        return found

    def find_model(self, text: str) -> tuple[ModelSpec, tuple[str, ...]]:
        """The architecture of a checkpoint, and the words of its name that are about number formats.

        Parameters
        ----------
        text : str
            A catalog name, or one as people and benchmark databases write it
            ("nvidia/DeepSeek-R1-0528-FP4-v2").

        Returns
        -------
        tuple of ModelSpec and tuple of str
            The model in the catalog's own format, and the format words, lower case ("fp4", "v2"); the
            latter are for the caller to honour.

        Raises
        ------
        UnknownNameError
            No model is called so.
        InputError
            Several are.
        """
        known = self._spellings(Kind.MODEL).get(normal_name(text)) or self._hf_ids.get(text.strip().lower())
        if known is not None:
            return self._catalog_model(known), ()
        spellings = {each: name for each, name in self._spellings(Kind.MODEL).items() if "/" not in each}
        name = find_model(text, {**self._hf_ids, **spellings})
        return self._catalog_model(name), read_model_name(text).formats

    def _catalog_model(self, name: str) -> ModelSpec:
        return self._once(Kind.MODEL, name, lambda: self._read_model(name))

    @cached_property
    def _hf_ids(self) -> dict[str, str]:
        """Hugging Face ids, lower case, with the catalog names of their models."""
        ids = {
            str(read_mapping(self._layers.file(Kind.MODEL, name)).get("hf_id", "")).lower(): name
            for name in self._layers.index(Kind.MODEL)
        }
        return {hf_id: name for hf_id, name in ids.items() if hf_id}

    # --- files -------------------------------------------------------------------------------

    def _once(self, kind: Kind, name: str, read: Callable[[], T]) -> T:
        if (kind, name) not in self._items:
            self._items[kind, name] = read()
        item: T = self._items[kind, name]
        return item

    def _row(self, kind: Kind, given: str, make: Callable[..., T]) -> T:
        name = self._layers.resolve(kind, given)

        def read() -> T:
            path, fields = self._layers.fields(kind, name)
            item = make(fields, path=path, name=name)
            self._check_sources(item, f"{path}: {name}")
            return item

        return self._once(kind, name, read)

    def _read_model(self, name: str) -> ModelSpec:
        from tokenroof.catalog.hf import import_config

        path = self._layers.file(Kind.MODEL, name)
        raw = read_mapping(path)
        skew = self.tuning.value("routing_skew")
        if "config" not in raw:
            return with_routing_skew(import_config(raw, name=name, source=USER_SOURCE), skew)
        config, stated = raw["config"], raw.get("stated") or {}
        if not isinstance(config, Mapping) or not isinstance(stated, Mapping):
            raise CatalogError(f"{path}: {name}: expected 'config' and 'stated' to hold fields.")
        hf_id, source = str(raw.get("hf_id", "")), str(raw.get("source", USER_SOURCE))
        spec = import_config(config, name=name, hf_id=hf_id, source=source, stated=stated)
        return with_routing_skew(spec, skew)

    def _read_chip(self, name: str, path: Path, layer: int) -> Chip:
        chip = build.build_chip(self._chip_fields(name, path, layer, ()), path=path, name=name)
        self._check_sources(chip, f"{path}: {name}")
        if chip.relative:
            try:
                self._layers.resolve(Kind.CHIP, chip.relative)
            except UnknownNameError as error:
                raise CatalogError(f"{path}: {name}.relative: {error}") from None
        return replace(chip, efficiencies=self._efficiencies, tuning=self.tuning)

    @cached_property
    def tuning(self) -> Tuning:
        """What measured servings add: ours, and the ``tuning.csv`` of the user's directories over it."""
        return load_tuning(self.directories[1:])

    @cached_property
    def accuracy(self) -> Accuracy:
        """How far predictions lie from measured servings: ours, and the user's over it."""
        return load_accuracy(self.directories[1:])

    def tuned(self, tuning: Tuning) -> Catalog:
        """The same files with other parameters from measured servings."""
        other = Catalog(self.directories)
        other.__dict__["tuning"] = tuning
        return other

    @cached_property
    def _efficiencies(self) -> tuple[OpEfficiency, ...]:
        """Fitted forms when the user adds some, the last directory's first; empty when nobody does."""
        own = tuple(row for directory in self.directories[:0:-1] for row in read(directory))
        return (*own, *load_efficiencies()) if own else ()

    def _chip_fields(self, name: str, path: Path, layer: int, chain: tuple[str, ...]) -> dict[str, Any]:
        """The fields of a chip file, laid over everything it extends.

        A chip that extends its own name means the one of a lower directory.
        """
        given = read_mapping(path)
        if "extends" not in given:
            return given
        where = f"{path}: {name}.extends"
        if not isinstance(given["extends"], str):
            raise CatalogError(f"{where}: expected the name of a chip, got {given['extends']!r}.")
        try:
            parent = self._layers.resolve(Kind.CHIP, given["extends"])
        except UnknownNameError as error:
            raise CatalogError(f"{where}: {error}") from None
        files = self._layers.index(Kind.CHIP)[parent]
        below = tuple(entry for entry in files if entry[0] < layer) if parent == name else files
        if not below or str(below[-1][1]) in chain:
            steps = " -> ".join([*(Path(step).stem for step in chain), name, parent])
            raise CatalogError(f"{where}: goes in a circle ({steps}). Let one of them stand alone.")
        parent_layer, parent_path = below[-1]
        base = self._chip_fields(parent, parent_path, parent_layer, (*chain, str(path)))
        build.build_chip(base, path=parent_path, name=parent)  # so that its faults are reported as its own
        merged = build.extend_chip(base, given)
        if "relative" not in given and parent != name:
            merged["relative"] = self._measured_as(parent, read_mapping(parent_path), base)
        return merged

    def _measured_as(self, name: str, own: Mapping[str, Any], merged: Mapping[str, Any]) -> str:
        """The chip whose measurements stand for those of ``name``: itself unless it extends another."""
        above = own.get("extends")
        alone = above is None or self._layers.resolve(Kind.CHIP, above) == name
        return name if alone else str(merged.get("relative") or name)

    def _check_sources(self, item: object, where: str) -> None:
        for source in build.source_ids(item):
            self._check_source(source, where)

    def _check_source(self, source: str, where: str) -> None:
        known = self._layers.index(Kind.SOURCE)
        if source != USER_SOURCE and source not in known:
            near = nearest(source, known, n=1)
            hint = f" Nearest: {near[0]}." if near else ""
            raise CatalogError(f"{where}: unknown source {source!r}.{hint} Add it to sources.yaml.")


def directories_from_environment(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The user's catalog directories named by ``TOKENROOF_CATALOG`` (separated as in ``PATH``)."""
    return tuple(Path(part) for part in environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep) if part)


def load(directories: Sequence[Path | str] = ()) -> Catalog:
    """The packaged catalog with the user's directories laid over it, the last one winning.

    Raises
    ------
    InputError
        A directory does not exist.
    """
    paths = tuple(Path(directory) for directory in directories)
    for path in paths:
        if not path.is_dir():
            raise InputError(f"no catalog directory {str(path)!r}. Create it, or check the spelling.")
    return Catalog((PACKAGED, *paths)) if paths else _packaged()


@cache
def _packaged() -> Catalog:
    """The packaged files do not change while the program runs: one shared instance."""
    return Catalog((PACKAGED,))
