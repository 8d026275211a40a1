"""Compile a program of many small functions as a whole instead of once per level of calls.

numba optimises a function together with everything that it calls, turns that into machine code, and does
so again for whoever calls it: the innermost of ten levels is compiled ten times. Here a function
that is called by another compiled function is only translated (``InnerLibrary``: no optimisation, no
machine code); the one that Python calls (``OuterLibrary``) gathers all of them and is optimised once.
Uses numba's documented way to customise its compiler (a ``pipeline_class``).
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NopythonTypeInference


class _QuietCodegen:
    """A code generator that leaves environments alone: without machine code there is nowhere to put them."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, env: Any) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)


class InnerLibrary(JITCodeLibrary):
    """A function that compiled code calls, translated and no more."""

    @property
    def codegen(self) -> Any:
        """See :class:`_QuietCodegen`."""
        return _QuietCodegen(self._codegen)

    def finalize(self) -> None:
        """Leave everything to who calls it."""
        self._raise_if_finalized()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """No machine code."""
        self._ensure_finalized()
        return 0

    @property
    def called(self) -> list[Any]:
        """Libraries that it needs beside itself."""
        return list(self._linking_libraries)


class OuterLibrary(JITCodeLibrary):
    """A function that Python calls, with all that it calls, optimised together."""

    def finalize(self) -> None:
        """Gather what is called at any depth, then go on as usual."""
        gathered: dict[int, Any] = {}
        waiting = list(self._linking_libraries)
        while waiting:
            library = waiting.pop()
            if id(library) not in gathered:
                gathered[id(library)] = library
                if isinstance(library, InnerLibrary):
                    waiting.extend(library.called)
        self._linking_libraries = list(gathered.values())
        super().finalize()


class _ChooseLibrary(FunctionPass):
    """Give the function a library of the kind that its role asks for."""

    _library: type[JITCodeLibrary]

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """See numba's ``BaseNativeLowering``, which takes the library that is there."""
        state.library = self._library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return True


@register_pass(mutates_CFG=False, analysis_only=True)
class _InnerPass(_ChooseLibrary):
    _name = "tokenroof_inner_library"
    _library = InnerLibrary


@register_pass(mutates_CFG=False, analysis_only=True)
class _OuterPass(_ChooseLibrary):
    _name = "tokenroof_outer_library"
    _library = OuterLibrary


class _Compiler(CompilerBase):
    _choice: type[_ChooseLibrary]

    def define_pipelines(self) -> list[Any]:
        """Numba's own, and the choice of a library before code is generated."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(self._choice, NopythonTypeInference)
        passes.finalize()
        return [passes]


class InnerCompiler(_Compiler):
    """Of functions that compiled code calls."""

    _choice = _InnerPass


class OuterCompiler(_Compiler):
    """Of functions that Python calls."""

    _choice = _OuterPass
