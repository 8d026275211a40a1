"""Many arrays under one address, so that compiled functions pass a single pointer around.

A compiled function that takes thirty arrays is slow to compile and to call: each is unpacked into its
pointer, shape and strides, and counted, at every call. A ``Block`` keeps these numbers in one small
table; compiled code sees its fields as arrays that borrow their memory. In plain Python a block is
an object with attributes, so the same code runs in both.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba.core import cgutils
from numba.core.datamodel.models import OpaqueModel
from numba.core.datamodel.registry import register_default
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.core.typing.templates import infer_getattr as infer
from numba.extending import NativeValue, typeof_impl, unbox
from numba.np.arrayobj import make_array, populate_array


@dataclasses.dataclass(eq=False)
class Block:
    """Base of dataclasses whose fields are C-contiguous arrays or other blocks; sizes never change."""

    def __post_init__(self) -> None:
        numbers: list[int] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Block):
                numbers.append(value.address)
                continue
            value = np.ascontiguousarray(value)
            setattr(self, field.name, value)
            numbers += [value.ctypes.data, *value.shape]
        self._numbers = np.array(numbers, dtype=np.int64)
        self.address: int = int(self._numbers.ctypes.data)


class BlockType(types.Type):
    """What numba knows of a block: the types of its fields, in order."""

    def __init__(self, fields: tuple[tuple[str, types.Type], ...]) -> None:
        self.fields = fields
        # The name is part of every compiled symbol: with all fields in it, it would be 10,000 letters.
        text = ", ".join(f"{name}: {kind}" for name, kind in fields)
        super().__init__(name=f"Block_{hashlib.sha256(text.encode()).hexdigest()[:16]}")

    @property
    def key(self) -> str:
        """Identity of the type; numba compares and hashes it all the time."""
        return str(self.name)


register_default(BlockType)(OpaqueModel)


@typeof_impl.register(Block)
def _typeof_block(value: Block, _context: Any) -> BlockType:
    return BlockType(
        tuple((field.name, typeof(getattr(value, field.name))) for field in dataclasses.fields(value))
    )


@unbox(BlockType)
def _unbox_block(_kind: BlockType, value: Any, c: Any) -> NativeValue:
    number = c.pyapi.object_getattr_string(value, "address")
    address = c.pyapi.long_as_voidptr(number)
    c.pyapi.decref(number)
    return NativeValue(address)


@infer
class _BlockFields(AttributeTemplate):
    key = BlockType

    def generic_resolve(self, kind: BlockType, name: str) -> types.Type | None:
        return dict(kind.fields).get(name)


@lower_getattr_generic(BlockType)
def _lower_field(context: Any, builder: Any, kind: BlockType, value: Any, name: str) -> Any:
    word = ir.IntType(64)
    at = 0
    for known, found in kind.fields:
        if known == name:
            break
        at += 1 if isinstance(found, BlockType) else 1 + found.ndim

    def load(index: int) -> Any:
        place = builder.gep(
            builder.bitcast(value, word.as_pointer()), [ir.Constant(ir.IntType(32), index)], inbounds=True
        )
        got = builder.load(place)
        got.set_metadata("invariant.load", builder.module.add_metadata([]))  # a block's arrays stay
        return got

    if isinstance(found, BlockType):
        return builder.inttoptr(load(at), cgutils.voidptr_t)
    array = make_array(found)(context, builder)
    size = context.get_abi_sizeof(context.get_data_type(found.dtype))
    shape = [load(at + 1 + axis) for axis in range(found.ndim)]
    strides: list[Any] = []
    stride = ir.Constant(word, size)
    for extent in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, extent)
    populate_array(
        array,
        data=builder.inttoptr(load(at), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=ir.Constant(word, size),
        meminfo=None,
    )
    return array._getvalue()
