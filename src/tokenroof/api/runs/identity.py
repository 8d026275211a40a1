"""What decides the results of a run: equal identities, equal bytes."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tokenroof
from tokenroof.calibrate.fitting.stamp import digest
from tokenroof.errors import InputError

PACKAGE = Path(tokenroof.__file__).parent

_SHOWS_ONLY = ("cli", "report", "web")
"""Rooms that no figure comes from."""
_LIBRARIES = ("llvmlite", "numba", "numpy", "polars", "scipy")
"""Figures may differ in the last digit, and Parquet in its bytes, with another version of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Hashes and versions.

    Attributes
    ----------
    question : str
        Of what was asked, however it was written down.
    code : str
        Of the program, without what only shows results.
    catalog : str
        Of every figure that comes with it.
    version : str
        Of tokenroof.
    libraries : mapping
        Version by name; of Python as well.
    files : mapping
        Hash by path of the user's own files: traces, chips, catalogs.
    """

    question: str
    code: str
    catalog: str
    version: str
    libraries: Mapping[str, str]
    files: Mapping[str, str]


def identity(question: Mapping[str, Any], files: Iterable[Path] = ()) -> Identity:
    """Of a run that would begin now.

    Parameters
    ----------
    question : mapping
        Plain values only.
    files : iterable of Path
        What the question names; of a directory, every file in it.

    Raises
    ------
    InputError
        One of the files cannot be read.
    """
    code, catalog = _of_package(PACKAGE)
    return Identity(
        question=question_hash(question),
        code=code,
        catalog=catalog,
        version=tokenroof.__version__,
        libraries={"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES},
        files={str(path): _of_given(path) for path in sorted(set(files))},
    )


def question_hash(question: Mapping[str, Any]) -> str:
    """Of the content of a question: the order of keys and the layout of a file do not matter."""
    return digest([json.dumps(question, sort_keys=True, ensure_ascii=False).encode()])


def differences(then: Identity, now: Identity) -> tuple[str, ...]:
    """What decides the results and is not the same any more, in words; the question is not looked at."""
    found = []
    if then.version != now.version:
        found.append(f"tokenroof {then.version} is now {now.version}")
    if then.code != now.code:
        found.append(f"the code has changed ({then.code} is now {now.code})")
    if then.catalog != now.catalog:
        found.append(f"the catalog has changed ({then.catalog} is now {now.catalog})")
    for name in sorted({*then.libraries, *now.libraries}):
        before, after = then.libraries.get(name, "none"), now.libraries.get(name, "none")
        if before != after:
            found.append(f"{name} {before} is now {after}")
    found += [
        f"the file {name} has changed"
        for name in sorted({*then.files, *now.files})
        if then.files.get(name) != now.files.get(name)
    ]
    return tuple(found)


@cache
def _of_package(package: Path) -> tuple[str, str]:
    """Of code and catalog; once per process, which goes on with what it has loaded."""
    data = package / "catalog" / "data"
    code = (
        path
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] not in _SHOWS_ONLY and data not in path.parents
    )
    return _of_files(package, code), _of_files(data, data.rglob("*"))


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:  # scipy is needed for fits alone
        return "none"


def _of_given(path: Path) -> str:
    try:
        if path.is_dir():
            return _of_files(path, path.rglob("*"))
        return digest([path.read_bytes()])
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}. Check the path.") from None


def _of_files(root: Path, paths: Iterable[Path]) -> str:
    """Of names and contents."""
    found = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        name = path.relative_to(root).as_posix()
        found.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:16]
