"""Compilation of the event kernel, cached on disk.

numba forgets to look at the functions that a cached function calls: it compares the stamp of one
file. The cache therefore lies in a directory named after the content of this whole room.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.core import config
from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., Any])


def _cache_dir() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return os.path.join(base, "tokenroof", "kernel-" + digest.hexdigest()[:16])


_CACHE_DIR = _cache_dir()
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_SETTING = "CACHE_DIR"  # made by numba at run time, so unknown to type checkers


def jit(function: F) -> F:
    """Compile on first call, keep the result on disk; ``NUMBA_DISABLE_JIT=1`` runs it as plain Python."""
    before = getattr(config, _SETTING)
    setattr(config, _SETTING, _CACHE_DIR)
    try:
        compiled = numba.njit(**_OPTIONS)(function)
    finally:
        setattr(config, _SETTING, before)
    if isinstance(compiled, Dispatcher):
        _forget_literals(compiled)
    found: F = compiled
    return found


def _forget_literals(compiled: Any) -> None:
    """One compilation for all constants: numba would make another for every literal argument."""
    template = compiled.get_call_template

    def plain(args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
        named = {name: types.unliteral(kind) for name, kind in kws.items()}
        return template(tuple(types.unliteral(kind) for kind in args), named)

    compiled.get_call_template = plain
