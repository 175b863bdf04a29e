"""Tables in compiled code: `job.dim` reads the field of that name, with the type that `tables` gives it."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_getattr_generic, models, register_model

from ..compiler.jit import jit
from ..tables import ADDRESS, COUNTER, FLOAT, INT, JOB, MATRIX, WORD_BYTES, Record
from .instructions import DOUBLE, INT64, load_value, operation
from .vectors import int_at

_TYPES = {INT: types.int64, ADDRESS: types.int64, COUNTER: types.int64, FLOAT: types.float64}


class RecordAddress(types.Type):
    """The numba type of the address of a table."""

    def __init__(self, record: Record) -> None:
        self.record = record
        super().__init__(name=record.name)


@register_model(RecordAddress)
class _AddressModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: RecordAddress) -> None:
        super().__init__(manager, kind, INT64)


@infer_getattr
class _FieldTypes(AttributeTemplate):
    key = RecordAddress

    def generic_resolve(self, kind: RecordAddress, name: str) -> Any:
        field = kind.record.fields.get(name)
        return None if field is None else _TYPES[field.type]


@lower_getattr_generic(RecordAddress)
def _read(context: Any, builder: Any, kind: RecordAddress, address: Any, name: str) -> Any:
    """The number, read when it is asked for; of a counter its address, which atomic operations take."""
    field = kind.record.fields[name]
    place = builder.add(address, ir.Constant(INT64, field.offset))
    if field.type == COUNTER:
        return place
    return load_value(builder, place, DOUBLE if field.type == FLOAT else INT64, WORD_BYTES)


@operation(RecordAddress(JOB), types.int64)
def job_at(builder, address):
    """The job at an address."""
    return address


@operation(RecordAddress(MATRIX), types.int64)
def matrix_at(builder, address):
    """The description of a matrix at an address."""
    return address


@jit
def item(integers, i):
    """One of the integers at an address."""
    return int_at(integers + i * WORD_BYTES)
