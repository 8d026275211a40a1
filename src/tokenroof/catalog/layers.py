"""Which file defines which name, over several catalog directories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from tokenroof.catalog.files import named_files, normal_name, read_mapping
from tokenroof.errors import CatalogError, UnknownNameError

YAML_SUFFIXES = (".yaml", ".yml")


class Kind(StrEnum):
    """What the catalog holds by name; the value is the singular used in messages."""

    CHIP = "chip"
    MEMORY = "memory"
    LINK = "link"
    NODE = "node"
    ENGINE = "engine"
    MODEL = "model"
    SOURCE = "source"


_TABLES = {
    Kind.MEMORY: "memories.yaml",
    Kind.LINK: "links.yaml",
    Kind.NODE: "nodes.yaml",
    Kind.ENGINE: "engines.yaml",
    Kind.SOURCE: "sources.yaml",
}
_FOLDERS = {Kind.CHIP: ("chips", YAML_SUFFIXES), Kind.MODEL: ("models", (".json", *YAML_SUFFIXES))}


class Layers:
    """Catalog directories, lowest first; a name in a higher one hides the same name below.

    Chips and models have one file each (``chips/h100.yaml``); the rest are tables with one file per kind.
    Files are read when asked for, and once.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        self.directories = tuple(directories)
        self._indexes: dict[Kind, dict[str, tuple[tuple[int, Path], ...]]] = {}
        self._tables: dict[Path, dict[str, Any]] = {}
        self._aliases: dict[str, dict[str, str]] | None = None

    def index(self, kind: Kind) -> dict[str, tuple[tuple[int, Path], ...]]:
        """Names of a kind with the (layer number, file) pairs that define them, lowest first."""
        if kind not in self._indexes:
            index: dict[str, tuple[tuple[int, Path], ...]] = {}
            for number, directory in enumerate(self.directories):
                for name, path in self._defined(kind, directory).items():
                    index[name] = (*index.get(name, ()), (number, path))
            self._indexes[kind] = index
        return self._indexes[kind]

    def _defined(self, kind: Kind, directory: Path) -> dict[str, Path]:
        if kind in _FOLDERS:
            folder, suffixes = _FOLDERS[kind]
            return named_files(directory / folder, suffixes)
        path = directory / _TABLES[kind]
        for name in self.table(path):
            if name != normal_name(name):
                raise CatalogError(
                    f"{path}: {name}: names are lower case with dashes. Write '{normal_name(name)}'."
                )
        return dict.fromkeys(self.table(path), path)

    def table(self, path: Path) -> dict[str, Any]:
        """A whole file of rows; empty when a directory does not have it."""
        if path not in self._tables:
            self._tables[path] = read_mapping(path) if path.exists() else {}
        return self._tables[path]

    def tables(self, file_name: str) -> list[tuple[Path, dict[str, Any]]]:
        """The same file of every directory that has it, lowest first."""
        paths = (directory / file_name for directory in self.directories)
        return [(path, self.table(path)) for path in paths if path.exists()]

    def file(self, kind: Kind, name: str) -> Path:
        """The highest file that defines a name."""
        return self.index(kind)[name][-1][1]

    def fields(self, kind: Kind, name: str) -> tuple[Path, Mapping[str, Any]]:
        """The file and raw fields of one row of a table.

        Raises
        ------
        CatalogError
            The row is not a mapping.
        """
        path = self.file(kind, name)
        given = self.table(path)[name]
        if not isinstance(given, Mapping):
            raise CatalogError(f"{path}: {name}: expected 'field: value' lines, got {given!r}.")
        return path, given

    def aliases(self, kind: Kind) -> dict[str, str]:
        """Other accepted spellings of a kind's names: alias to name.

        Raises
        ------
        CatalogError
            An ``aliases.yaml`` is malformed.
        """
        if self._aliases is None:
            found: dict[str, dict[str, str]] = {each.value: {} for each in Kind}
            for path, groups in self.tables("aliases.yaml"):
                for group, entries in groups.items():
                    if group not in found or not isinstance(entries, Mapping):
                        raise CatalogError(
                            f"{path}: {group}: expected 'alias: name' under one of {', '.join(Kind)}."
                        )
                    found[group] |= {normal_name(str(alias)): str(name) for alias, name in entries.items()}
            self._aliases = found
        return self._aliases[kind]

    def resolve(self, kind: Kind, given: str) -> str:
        """The catalog name that a name or alias stands for.

        Raises
        ------
        UnknownNameError
            No such name or alias.
        """
        index = self.index(kind)
        name = normal_name(given)
        if name not in index:
            name = self.aliases(kind).get(name, name)
        if name not in index:
            raise UnknownNameError(kind.value, given, index)
        return name
