"""What the operations of `vectors` are made of: numba's types, and functions of an LLVM builder and LLVM's values."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from ..tables import LANES, VECTOR_BYTES

BIT, BYTE, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
FLOAT, DOUBLE, VOID = ir.FloatType(), ir.DoubleType(), ir.VoidType()


class Vector(types.Type):
    """The numba type of a SIMD value: so many elements of one LLVM type."""

    def __init__(self, name: str, element: Any, lanes: int) -> None:
        self.llvm = ir.VectorType(element, lanes)
        super().__init__(name=name)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)


F32, I32, I8 = Vector("F32", FLOAT, LANES), Vector("I32", INT32, LANES), Vector("I8", BYTE, 4 * LANES)
F64, MASK, HALF = Vector("F64", DOUBLE, LANES // 2), Vector("Mask", BIT, LANES), Vector("Half", FLOAT, LANES // 2)


def operation(result: Any, *arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make an intrinsic out of a function of an IR builder and LLVM values: it takes and gives the named types."""

    def decorate(emit: Callable[..., Any]) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            out = emit(builder, *values)
            return context.get_dummy_value() if isinstance(result, types.Opaque) else out

        # numba looks at the number of parameters, so they must be written out.
        names = ", ".join("abcdefgh"[: len(arguments)])
        space: dict[str, Any] = {"answer": (result(*arguments), codegen)}
        exec(f"def {emit.__name__}(typing{', ' * bool(names)}{names}): return answer", space)
        made = space[emit.__name__]
        made.__doc__, made.__module__ = emit.__doc__, emit.__module__
        return intrinsic(made)

    return decorate


def call_intrinsic(builder: Any, name: str, result: Any, *values: Any) -> Any:
    """Call an intrinsic function of LLVM."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)


def pointer_to(builder: Any, address: Any, kind: Any) -> Any:
    """The pointer to a value of an LLVM type at an address."""
    return builder.inttoptr(address, kind.as_pointer())


def load_value(builder: Any, address: Any, kind: Any, align: int) -> Any:
    """The value of an LLVM type at an address, which is a multiple of `align`."""
    return builder.load(pointer_to(builder, address, kind), align=align)


def store_value(builder: Any, address: Any, value: Any, align: int) -> None:
    """Put a value at an address, which is a multiple of `align`."""
    builder.store(value, pointer_to(builder, address, value.type), align=align)


def constant(kind: Any, value: Any) -> Any:
    """A number in all lanes of a vector."""
    return ir.Constant(kind, [value] * kind.count)


def broadcast(builder: Any, scalar: Any, kind: Any) -> Any:
    """A value in all lanes of a vector."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count))


def pick_lanes(builder: Any, value: Any, indices: Any) -> Any:
    """The named lanes of a vector, as a shorter one."""
    index = ir.Constant(ir.VectorType(INT32, len(indices)), list(indices))
    return builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), index)


def join(builder: Any, parts: list[Any]) -> Any:
    """Vectors of one length, one behind the other."""
    while len(parts) > 1:
        n = 2 * parts[0].type.count
        index = ir.Constant(ir.VectorType(INT32, n), list(range(n)))
        parts = [builder.shuffle_vector(a, b, index) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def combine_lanes(builder: Any, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine all lanes: the upper half with the lower one, until one is left."""
    while (half := value.type.count // 2) > 1:
        value = combine(pick_lanes(builder, value, range(half)), pick_lanes(builder, value, range(half, 2 * half)))
    ends = [builder.extract_element(value, ir.Constant(INT32, i)) for i in (0, 1)]
    return combine(*ends)


def per_register(builder: Any, bits: int, name: str, *values: Any, result: Any = None) -> Any:
    """Apply an instruction that takes registers of so many bits, and gives `result`, to each part of the values."""
    count = 8 * VECTOR_BYTES // bits
    parts = []
    for i in range(count):
        part = [
            pick_lanes(builder, v, range(i * v.type.count // count, (i + 1) * v.type.count // count)) for v in values
        ]
        parts.append(call_intrinsic(builder, name, result or part[0].type, *part))
    return join(builder, parts)
