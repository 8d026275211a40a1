"""What shipped parameters were made from: hashes of rows, settings and code, so that a test can tell.

Code is compared without comments, docstrings and layout. Where it has changed, parameters may still be
current: then the predictions that were noted beside them have to come out the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokenroof.calibrate.fitting.core import FitSettings

PACKAGE = Path(__file__).resolve().parents[2]

_ROOMS = (
    *("catalog", "workload", "graph", "perf", "serve", "deploy"),
    *("calibrate/validation", "calibrate/fitting"),
)
_MADE = frozenset({"tuning.csv", "accuracy.csv", "served.csv"})
"""Files of the catalog that are made from fits, not read by them."""


def digest(parts: Iterable[bytes]) -> str:
    """A short hash of several texts."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()[:16]


def of_files(paths: Iterable[Path]) -> str:
    """Of the content of files, in the order of their names."""
    return digest(path.read_bytes() for path in sorted(paths))


def of_code(package: Path = PACKAGE) -> str:
    """Of everything that a prediction is made by: code of the rooms below, and the catalog's figures."""
    code = (path for room in _ROOMS for path in sorted((package / room).rglob("*.py")))
    data = (
        path
        for path in sorted((package / "catalog" / "data").rglob("*"))
        if path.is_file() and path.name not in _MADE
    )
    return digest([*(_plain(path.read_text(encoding="utf-8")) for path in code), of_files(data).encode()])


def of_settings(settings: FitSettings, **more: object) -> str:
    """Of how a fit weighs, and what it was asked."""
    return digest([json.dumps(asdict(settings) | more, sort_keys=True, default=str).encode()])


def _plain(source: str) -> bytes:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # Texts that stand alone are remarks.
            kept = [each for each in body if not _is_text(each)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_text(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def write(path: Path, stamps: Mapping[str, Mapping[str, str]]) -> None:
    """Hashes by file."""
    path.write_text(json.dumps(stamps, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, dict[str, str]]:
    """What :func:`write` wrote."""
    found: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return found
