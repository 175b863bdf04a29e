"""How float weights are stored: a type for each format, so that every product is compiled once for each of them.

`load_weights(numbers, address)` becomes the instructions of the format that `numbers` stands for.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from ..tables import FLOAT_BYTES, HALF_BYTES
from .instructions import F32, HALF, INT64, load_value, operation
from .vectors import load_bfloat16_value, load_float16_value


class Format(types.Opaque):
    """The numba type of a value that only stands for a format."""


register_model(Format)(models.OpaqueModel)


def _load_float32_value(builder: Any, address: Any, wide: Any) -> Any:
    return load_value(builder, address, wide, FLOAT_BYTES)


_BYTES = {"float32": FLOAT_BYTES, "float16": HALF_BYTES, "bfloat16": HALF_BYTES}
_LOADS: dict[str, Callable[..., Any]] = {
    "float32": _load_float32_value,
    "float16": load_float16_value,
    "bfloat16": load_bfloat16_value,
}


@operation(Format("float32"))
def float32_numbers(builder):
    """The format float32."""


@operation(Format("float16"))
def float16_numbers(builder):
    """The format float16."""


@operation(Format("bfloat16"))
def bfloat16_numbers(builder):
    """The format bfloat16."""


@intrinsic
def number_bytes(typing, numbers):
    """Bytes of a number of a format."""
    return types.int64(numbers), lambda *_: ir.Constant(INT64, _BYTES[numbers.name])


@intrinsic
def load_weights(typing, numbers, address):
    """16 numbers of a format, as float32: exact."""
    return F32(numbers, address), _loading(numbers, F32)


@intrinsic
def load_half_weights(typing, numbers, address):
    """Eight numbers of a format, as float32: exact."""
    return HALF(numbers, address), _loading(numbers, HALF)


def _loading(numbers: Any, kind: Any) -> Callable[..., Any]:
    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _LOADS[numbers.name](builder, values[1], kind.llvm)

    return codegen
