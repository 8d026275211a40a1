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

from tokenroof.serve.whole import InnerCompiler, OuterCompiler

F = TypeVar("F", bound=Callable[..., Any])


_ALWAYS = ("arrays", "block", "jit", "results", "whole")
"""Files without a compiled function that compiled functions depend on."""


def _cache_dir() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        content = path.read_bytes()
        if b"serve.jit" in content or path.stem in _ALWAYS:
            digest.update(content)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return os.path.join(base, "tokenroof", "kernel-" + digest.hexdigest()[:16])


_CACHE_DIR = _cache_dir()
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
_OUTER = _OPTIONS | {"cache": True, "pipeline_class": OuterCompiler}
_INNER = _OPTIONS | {"no_cpython_wrapper": True, "pipeline_class": InnerCompiler}
_SETTING = "CACHE_DIR"  # made by numba at run time, so unknown to type checkers


def jit(function: F) -> F:
    """Compile on first call, keep the result on disk; ``NUMBA_DISABLE_JIT=1`` runs it as plain Python."""
    before = getattr(config, _SETTING)
    setattr(config, _SETTING, _CACHE_DIR)
    try:
        outer = numba.njit(**_OUTER)(function)
    finally:
        setattr(config, _SETTING, before)
    if isinstance(outer, Dispatcher):
        inner = numba.njit(**_INNER)(function)
        _call_inside(outer, inner)
    found: F = outer
    return found


def _wide(kind: types.Type) -> types.Type:
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind


def _call_inside(outer: Any, inner: Any) -> None:
    """Compiled code that calls ``outer`` calls ``inner``.

    One compilation for all whole numbers: numba would make another for every constant and width.
    """
    template = inner.get_call_template

    def widened(args: tuple[types.Type, ...], kws: dict[str, types.Type]) -> Any:
        return template(tuple(_wide(kind) for kind in args), {name: _wide(k) for name, k in kws.items()})

    outer.get_call_template = widened
    outer.get_overload = inner.get_overload
