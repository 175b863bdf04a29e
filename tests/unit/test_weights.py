"""Every kind of matrix says of itself what it is, and computes as its definition says."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import llama2_fast
import llama2_ref
from llama2_ref.weights import FloatMatrix, IntegerMatrix, matrix_of

ROWS, COLS, GROUP = 6, 8, 4
RANGES = {"int8": (-127, 128), "int4": (-8, 8), "int4 with offsets": (0, 16)}
CLASSES = dict(zip(RANGES, (llama2_ref.Int8Matrix, llama2_ref.Int4Matrix, llama2_ref.Int4OffsetMatrix), strict=True))


def eighths(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Numbers of which every product and sum below is exact in float32; all differ, so that rows can't be mixed up."""
    return (np.random.default_rng(seed).permutation(100)[: np.prod(shape)].reshape(shape) / 8 - 4).astype(np.float32)


def matrix(label: str) -> tuple[Any, np.ndarray]:
    """One of a kind, and the floats that it stands for."""
    if label == "float":
        rows = eighths((ROWS, COLS), 1)
        return rows, rows
    q = np.random.default_rng(2).integers(*RANGES[label], (ROWS, COLS)).astype(np.int8)
    scale, offset = (eighths((ROWS, COLS // GROUP), seed) for seed in (3, 4))
    offsets = [offset] if label == "int4 with offsets" else []
    floats = q * np.repeat(scale, GROUP, 1) + sum(np.repeat(each, GROUP, 1) for each in offsets)
    return CLASSES[label](q, scale, *offsets), floats


def as_lists(of: Any) -> Any:
    """The same matrix as the reference has it."""
    if isinstance(of, np.ndarray):
        return of.tolist()
    return type(of)(*(part.tolist() for part in of.parts))


def equal(got: Sequence[Any], expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(got, np.float64), expected)


@pytest.fixture(params=["float", *RANGES])
def label(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def of_package(llama2: ModuleType, label: str) -> tuple[Any, np.ndarray]:
    found, floats = matrix(label)
    return matrix_of(found if llama2 is llama2_fast else as_lists(found)), floats


def test_what_it_is(llama2: ModuleType, label: str) -> None:
    known, _ = of_package(llama2, label)
    assert known.label == label
    assert known.shape == (ROWS, COLS)
    assert known.group_size == (0 if label == "float" else GROUP)
    assert (known.product_kernel, known.row_kernel) == (
        ("matmul", "embedding") if label == "float" else ("matmul_int8", "dequantize_int8")
    )
    assert matrix_of(known) is known or label == "float"


def test_rows(llama2: ModuleType, label: str) -> None:
    known, floats = of_package(llama2, label)
    for index in (0, 3, ROWS - 1):
        equal(known.row(llama2.kernels, index), floats[index])
    if llama2 is llama2_fast:
        equal(known.row(llama2.kernels, [4, 1, 4]), floats[[4, 1, 4]])


def test_products(llama2: ModuleType, label: str) -> None:
    """The vector is one that int8 groups hold exactly."""
    known, floats = of_package(llama2, label)
    x = np.array([127, -3, 8, 0, 1, 127, -64, 5], np.float32)
    equal(known.multiply(llama2.kernels, known.prepare(llama2.kernels, x)), floats @ x)


def test_some_rows(llama2: ModuleType, label: str) -> None:
    known, floats = of_package(llama2, label)
    some = known.take_rows(slice(2, 5))
    assert (type(some), some.shape, some.group_size) == (type(known), (3, COLS), known.group_size)
    equal([some.row(llama2.kernels, index) for index in range(3)], floats[2:5])


def test_parts_that_may_be_other_than_finite(label: str) -> None:
    known, _ = of_package(llama2_fast, label)
    assert all(np.asarray(part).dtype.kind == "f" for part in known.float_parts)
    integers = [part for part in known.parts if part.dtype.kind == "i"]
    assert len(known.float_parts) == len(known.parts) - len(integers)
    assert len(integers) == isinstance(known, IntegerMatrix) == (not isinstance(known, FloatMatrix))
