"""Data of launch files: flags of programs, platforms of vendors, fields of manifests."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tokenroof.errors import CatalogError, InputError

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagList:
    """The flags that a version of a program documents.

    Attributes
    ----------
    tool, program, version, source : str
        Identifier, how it is started, which version, where the flags were read.
    flags : frozenset of str
        Every flag, those of the program that it wraps included.
    """

    tool: str
    program: str
    version: str
    source: str
    flags: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What runs on the chips of a vendor.

    Attributes
    ----------
    resource : str
        Name of the chips as a Kubernetes resource.
    visible : str
        Environment variable that narrows a process down to some chips of a host.
    images : mapping of str to str
        Container image by engine.
    transports : mapping of str to str
        What moves a cache from prefill to decode, by engine ("nixl", "mooncake").
    dynamo : bool
        Whether NVIDIA Dynamo has images for them.
    compose : mapping
        What a container needs to see the chips.
    one_host : str
        Why a replica has to fit on one host; "" when it may span several.
    families : tuple of str
        Families of chips this holds for; empty: all of the vendor.
    source : str
        Where this was read.
    """

    resource: str
    visible: str
    images: Mapping[str, str]
    source: str
    transports: Mapping[str, str] = field(default_factory=dict)
    dynamo: bool = False
    compose: Mapping[str, Any] = field(default_factory=dict)
    one_host: str = ""
    families: tuple[str, ...] = ()


@cache
def flag_list(tool: str) -> FlagList:
    """Documented flags of a program, by its identifier."""
    path = _DATA / "flags" / f"{tool}.yaml"
    row = yaml.safe_load(path.read_text(encoding="utf-8"))
    own = frozenset(row["flags"].split())
    wrapped = flag_list(row["extends"]).flags if "extends" in row else frozenset()
    return FlagList(
        tool=row["tool"],
        program=row["program"],
        version=str(row["version"]),
        source=row["source"],
        flags=own | wrapped,
    )


def known_flags(tool: str, flags: Mapping[str, str]) -> None:
    """Check flags that a user gives.

    Raises
    ------
    InputError
        A flag that the documented version of the program does not have.
    """
    known = flag_list(tool)
    for flag in flags:
        if flag not in known.flags:
            near = difflib.get_close_matches(flag, sorted(known.flags), n=3, cutoff=0.4)
            hint = f" Nearest: {', '.join(near)}." if near else ""
            raise InputError(
                f"unknown flag {flag!r} of {known.program} {known.version}.{hint} "
                f"{len(known.flags)} are known."
            )


@cache
def _platforms() -> tuple[dict[str, Any], dict[str, Any]]:
    vendors, hosts = yaml.safe_load_all((_DATA / "platforms.yaml").read_text(encoding="utf-8"))
    return vendors, hosts


@cache
def platform(vendor: str) -> Platform | None:
    """What runs on chips of this vendor, or None when nothing is known to."""
    row = _platforms()[0].get(vendor)
    if row is None:
        return None
    return Platform(**{**row, "families": tuple(row.get("families", ()))})


def chips_per_host(node: str) -> int | None:
    """Chips of one host of this node of the catalog, where that is less than its fast domain."""
    row = _platforms()[1].get(node)
    return None if row is None else int(row["chips"])


@cache
def schema(kind: str) -> Mapping[str, Any]:
    """Fields of a kind of manifest, as a JSON schema with a ``source``."""
    schemas = yaml.safe_load((_DATA / "schemas.yaml").read_text(encoding="utf-8"))
    if kind not in schemas:
        raise CatalogError(f"schemas.yaml: no kind {kind!r}. Known: {', '.join(schemas)}.")
    found: Mapping[str, Any] = schemas[kind]
    return found
