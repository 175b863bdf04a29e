"""The tests of the bounds: every step of a computation may err as much as it can, and the bounds hold, but not halves.

The computations here are trees of exact fractions, whose every operation is rounded to nearest, or is off by the whole
unit roundoff, up or down: that is the model that the proofs assume, and more than any processor does.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import llama2_fast
import llama2_ref
from fuzz.arithmetic import ARITHMETICS, Single, implementations, round32, run
from fuzz.tightness import DERIVATIONS, BrokenBoundError, Row, Trial, as_ball, main, mutated
from llama2_fast.conformance import closed as closed_module
from llama2_fast.conformance.adversarial import KERNELS
from llama2_fast.conformance.closed import Ball, ClosedKernels
from llama2_fast.conformance.compare import compare
from llama2_fast.conformance.judge import assert_within
from llama2_fast.conformance.strategies import seeds
from llama2_ref import bounded as bounded_module
from llama2_ref import kernels as ref
from llama2_ref.bounded import (
    ETA,
    EXP_ABS,
    EXP_REL,
    FLOAT32_MAX,
    SLACK,
    TABLE_REL,
    Bounded,
    BoundedKernels,
    U,
    bounding,
)

f32 = np.float32
UNIT, SMALLEST = Fraction(U), Fraction(ETA)
DIGITS = 60

# ------------------------------------------------------------------------------------------------- exact computations


def nearest(x: Fraction) -> Fraction:
    """x, rounded to the nearest float32, ties to even, without an upper limit."""
    if x == 0:
        return x
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -126) - 23)
    return round(x / step) * step


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38))
def test_fractions_are_rounded_as_processors_round(x):
    assert float(nearest(Fraction(x))) == round32(x) == float(f32(x))


def root(x: Fraction) -> Fraction:
    with localcontext(prec=DIGITS):
        return Fraction((Decimal(x.numerator) / Decimal(x.denominator)).sqrt())


def power(x: Fraction) -> Fraction:
    with localcontext(prec=DIGITS):
        return Fraction((Decimal(x.numerator) / Decimal(x.denominator)).exp())


@dataclass
class Machine:
    """Computes with fractions; a coin tells how each step errs, how sums are ordered, and what is fused."""

    coin: Callable[[int], int]  # of n: one of 0..n-1

    def rounded(self, x: Fraction, underflows: bool = False) -> Fraction:
        way = self.coin(3)
        if way == 0:
            return nearest(x)
        sign = 1 if way == 1 else -1
        return x + sign * (abs(x) * UNIT + (SMALLEST / 2 if underflows else 0))

    def sum(self, terms: list[Fraction], products: list[bool]) -> Fraction:
        """In any tree. A product is exact; it is rounded when it is taken, unless an FMA takes it."""
        parts = list(zip(terms, products, strict=True))
        while len(parts) > 1:
            (a, exact_a), (b, exact_b) = (parts.pop(self.coin(len(parts))) for _ in range(2))
            fused = self.coin(2)
            a = self.rounded(a, True) if exact_a and not (fused and not exact_b) else a
            b = self.rounded(b, True) if exact_b and not fused else b
            parts.insert(0, (self.rounded(a + b), False))
        value, exact = parts[0]
        return self.rounded(value, True) if exact else value

    def evaluate(self, tree, exact=False) -> Fraction:
        """A tree's value; `exact`: a product is returned as it is."""
        kind, *parts = tree
        if kind == "number":
            return Fraction(parts[0])
        if kind == "sum":
            return self.sum([self.evaluate(part, exact=True) for part in parts], [p[0] == "product" for p in parts])
        values = [self.evaluate(part) for part in parts]
        if kind == "product":
            product = values[0] * values[1]
            return product if exact else self.rounded(product, True)
        if kind == "quotient":
            if self.coin(2):
                return self.rounded(values[0] / values[1], True)
            return self.rounded(values[0] * self.rounded(1 / values[1], True), True)
        if kind == "root":
            return self.rounded(root(values[0]))
        sign = self.coin(3) - 1
        return power(values[0]) * (1 + sign * Fraction(EXP_REL)) + sign * Fraction(EXP_ABS)


def exact_value(tree) -> Fraction:
    kind, *parts = tree
    if kind == "number":
        return Fraction(parts[0])
    values = [exact_value(part) for part in parts]
    if kind == "sum":
        return sum(values, Fraction(0))
    if kind == "product":
        return values[0] * values[1]
    if kind == "quotient":
        return values[0] / values[1]
    return root(values[0]) if kind == "root" else power(values[0])


def with_bounds(tree, number=Bounded) -> Bounded:
    kind, *parts = tree
    if kind == "number":
        return number(parts[0])
    values = [with_bounds(part, number) for part in parts]
    if kind == "sum":
        total: Any = 0
        for value in values:
            total = total + value
        return total
    if kind == "product":
        return values[0] * values[1]
    if kind == "quotient":
        return values[0] / values[1]
    return values[0].sqrt() if kind == "root" else values[0].exp()


numbers = st.one_of(
    st.integers(-8, 8).map(float),
    st.floats(0.5, 2, width=32),
    st.floats(-(2.0**20), 2.0**20, width=32),
    st.floats(-(2.0**-130), 2.0**-130, width=32),
)


def larger(trees):
    square = trees.map(lambda tree: ("sum", ("product", tree, tree), ("number", 1.0)))  # whose root there is
    small = trees.map(lambda tree: ("quotient", tree, ("sum", ("product", tree, tree), ("number", 1.0))))  # for exp
    return st.one_of(
        st.lists(trees, min_size=1, max_size=7).map(lambda parts: ("sum", *parts)),
        st.tuples(st.just("product"), trees, trees),
        st.tuples(st.just("quotient"), trees, trees),
        square.map(lambda tree: ("root", tree)),
        small.map(lambda tree: ("exp", tree)),
    )


trees = st.recursive(numbers.map(lambda x: ("number", x)), larger, max_leaves=12)


@given(trees, seeds)
def test_numbers_that_carry_their_error_cover_every_computation(tree, seed):
    try:
        exact = exact_value(tree)
        number = with_bounds(tree)
    except (ZeroDivisionError, OverflowError):
        assume(False)
    error = Fraction(number.error) if math.isfinite(number.error) else None
    assume(error is not None)
    assert abs(Fraction(number.value) - exact) <= error * Fraction(2) ** -27
    rng = np.random.default_rng(seed)
    for _ in range(4):
        got = Machine(lambda n: int(rng.integers(n))).evaluate(tree)
        assert abs(got - Fraction(number.value)) <= error * Fraction(SLACK)
    for beyond in (number.value + number.error * (1 + 2.0**-20), number.value - number.error * (1 + 2.0**-20)):
        assert not compare([beyond], Ball(np.array([number.value]), np.array([number.error]))).within or (
            abs(beyond - number.value) <= number.error * SLACK  # the sum was rounded to the bound itself
        )


@given(trees, seeds, st.sampled_from(sorted(ARITHMETICS)))
def test_numbers_that_carry_their_error_cover_float32(tree, seed, name):
    """The same trees in the arithmetics of the report, which are float32 throughout."""

    def evaluate(tree):
        kind, *parts = tree
        if kind == "number":
            return Single([parts[0]], ARITHMETICS[name])
        values = [evaluate(part) for part in parts]
        if kind == "sum":
            total = 0
            for value in values:
                total = total + value
            return total
        if kind in ("product", "quotient"):
            return values[0] * values[1] if kind == "product" else values[0] / values[1]
        if kind == "exp":
            return values[0].exp()
        return Single([round32(math.sqrt(values[0].value))], ARITHMETICS[name])

    try:
        number = with_bounds(tree)
    except (ZeroDivisionError, OverflowError):
        assume(False)
    assume(math.isfinite(number.error))
    assert_within([evaluate(tree).value], [number], name)


ONE = ("number", 1.0)
FAINT = ("number", 2.0**-60)  # adds nothing but a rounding of the whole sum
OPERATORS = {
    "a sum of two": ("sum", ONE, ONE),
    "a sum of seven": ("sum", ONE, *[FAINT] * 6),
    "a sum of products": ("sum", *[("product", ONE, part) for part in (ONE, FAINT, FAINT, FAINT)]),
    "a product": ("product", ONE, ONE),
    "a product that underflows": ("product", ("number", 2.0**-100), ("number", 2.0**-80)),
    "a product of sums": ("product", ("sum", ONE, ONE), ("sum", ONE, FAINT, FAINT)),
    "a quotient": ("quotient", ONE, ONE),
    "a quotient of sums": ("quotient", ("sum", ONE, FAINT, FAINT), ("sum", ONE, ONE)),
    "a root": ("root", ONE),
    "a root of a sum": ("root", ("sum", ONE, FAINT, FAINT)),
    "exp": ("exp", ONE),
    "exp of a sum": ("exp", ("sum", ONE, ONE)),
}


class Extreme(Machine):
    """Everything errs upwards, and what is divided by, downwards; sums go from first to last, and nothing is fused."""

    def __init__(self) -> None:
        self.up = True
        super().__init__(lambda n: 0)

    def rounded(self, x: Fraction, underflows: bool = False) -> Fraction:
        moved = abs(x) * UNIT + (SMALLEST / 2 if underflows else 0)
        return x + moved if self.up else x - moved

    def evaluate(self, tree, exact=False) -> Fraction:
        kind, *parts = tree
        if kind == "exp":
            return power(self.evaluate(parts[0])) * (1 + Fraction(EXP_REL)) + Fraction(EXP_ABS)
        if kind != "quotient":
            return super().evaluate(tree, exact)
        above = self.evaluate(parts[0])
        self.up = not self.up
        below = self.evaluate(parts[1])
        self.up = not self.up
        return self.rounded(above * self.rounded(1 / below, True), True)


def worst_ratio(name, number=Bounded) -> float:
    """The error, where every rounding is as bad as it can be, over the bound."""
    got = Extreme().evaluate(OPERATORS[name])
    return float(abs(got - exact_value(OPERATORS[name])) / Fraction(with_bounds(OPERATORS[name], number).error))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_charges_what_it_may_err_and_no_more(name):
    """Up to second-order terms, which a quotient's 2.01 u pay for."""
    assert 0.99 < worst_ratio(name) <= SLACK


def test_where_a_number_stops_to_promise_anything():
    largest = Bounded(FLOAT32_MAX)
    assert math.isfinite(largest.error)
    assert math.isinf((largest + largest).error)
    assert math.isinf((largest * 2.0).error)
    assert math.isinf((Bounded(1.0) / Bounded(0.5, 0.5)).error)
    assert math.isinf((Bounded(1.0) / Bounded(2.0**-129)).error)  # whose reciprocal overflows
    assert math.isfinite((Bounded(1.0) / Bounded(2.0**-127)).error)
    assert math.isinf(Bounded(1.0, 2.0).sqrt().error)
    assert math.isinf(Bounded(88.8).exp().error)
    assert math.isfinite(Bounded(88.6).exp().error)
    assert math.isinf((largest + -largest + largest).error)  # another order overflows
    with pytest.raises(TypeError, match="rounding to an integer"):
        BoundedKernels().quantize_int8([Bounded(1.0)], 1)
    with pytest.raises(TypeError, match="rounding to an integer"):
        ClosedKernels().quantize_int8(Ball(np.ones(1), np.zeros(1)), 1)


def test_the_loops_get_their_own_functions_back():
    before = {name: getattr(ref, name) for name in bounded_module.FUNCTIONS}
    with pytest.raises(ZeroDivisionError), bounding():
        assert vars(ref)["exp"] is not before["exp"]
        raise ZeroDivisionError
    assert {name: getattr(ref, name) for name in before} == before


# ---------------------------------------------------------------------------------------- the arithmetics of the report


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=70), st.sampled_from(sorted(ARITHMETICS)))
def test_every_order_adds_every_term_once(terms, name):
    assert ARITHMETICS[name].order(terms) == sum(terms)


@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40), st.sampled_from(sorted(ARITHMETICS)))
def test_every_order_rounds_to_float32(terms, name):
    total = ARITHMETICS[name].order(terms)
    assert total == round32(total)


def test_arithmetics_differ_where_they_should():
    terms = [1.0, *[2.0**-24] * 40]
    sums = {name: how.order(terms) for name, how in ARITHMETICS.items()}
    assert sums["sequential"] == sums["falling"] == sums["worst"] == 1
    assert sums["backwards"] == 1 + 40 * 2.0**-24
    assert min(sums["pairwise"], sums["lanes"]) > 1
    square = f32(1 + 2.0**-12)  # whose square is a tie
    row, x = np.array([[1, square]], f32), np.array([-1, square], f32)
    found = {name: run("matmul", (row, x), ARITHMETICS[name])[0] for name in ("sequential", "fused")}
    assert found == {"sequential": 2.0**-11, "fused": 2.0**-11 + 2.0**-24}
    thirds = {name: run("softmax", (np.zeros(41, f32),), ARITHMETICS[name])[0] for name in ARITHMETICS}
    assert len(set(thirds.values())) > 1  # 1/41, and the product of 1 and its reciprocal


@pytest.mark.parametrize("kernel", KERNELS)
def test_changed_inputs_are_inputs(kernel):
    """Of the same types and shapes, finite, and other ones; those that are changed stay as they were."""
    rng, spec = np.random.default_rng(0), KERNELS[kernel]
    inputs = spec.random(rng, *spec.sizes[0])
    kept, others = [array.copy() for array in inputs], 0
    for _ in range(100):
        changed = mutated(rng, inputs)
        assert [(a.dtype, a.shape) for a in changed] == [(a.dtype, a.shape) for a in inputs]
        assert all(np.isfinite(a).all() for a in changed)
        assert all(np.array_equal(a, b) for a, b in zip(kept, inputs, strict=True))
        others += any(not np.array_equal(a, b) for a, b in zip(changed, inputs, strict=True))
    assert others > 30


def test_the_search_goes_beyond_what_it_begins_with():
    trial = Trial("dequantize_int8", (64,), "Closed")
    rng = np.random.default_rng(0)
    trial.begin(rng)
    before = dict(trial.row.best)
    trial.search(rng, 0.3)
    assert all(trial.row.best[key][0] >= ratio for key, (ratio, _) in before.items())
    assert trial.row.largest()[0] > 0.95


def test_the_report_prints_a_table_and_fails_where_a_bound_is_broken(capsys, tmp_path):
    file = tmp_path / "rows.json"
    assert main(["--seconds", "0", "--kernel", "add", "--json", str(file)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:3] for line in table[2:]] == [["| add", "64", "Bounded"], ["| add", "64", "Closed"]]
    rows = json.loads(file.read_text())
    assert [row["bound"] for row in rows] == ["Bounded", "Closed"]
    assert all(0.9 < row["largest"] <= 1 and row["Closed/Bounded"] in (None, 1) and not row["flag"] for row in rows)
    with mock.patch.object(llama2_fast.kernels, "add", lambda x, y: x + y * f32(1 + 2.0**-20)):
        assert main(["--seconds", "0", "--kernel", "add"]) == 1
    broken = capsys.readouterr().out
    assert broken.startswith("a bound is broken: add (64,), Bounded, numpy: [")
    assert broken.count("float32 [") == 2  # both inputs
    with pytest.raises(SystemExit, match="2"):
        main(["--seconds", "-1"])


def test_a_bound_that_nothing_comes_close_to_is_flagged():
    row = Row("add", (4,), "Closed", usual=[0.0], bounds=[1.0], squares=[1.0])
    row.best = {("numpy", False): (0.01, ()), ("worst", False): (0.04, ()), ("numpy", True): (1.0, ())}
    assert row.cells()["flag"] == "loose"
    row.best["worst", False] = 0.9, ()
    assert (row.cells()["flag"], row.cells()["closest"]) == ("numpy", "worst")
    row.best["numpy", False] = 0.5, ()
    assert row.cells()["flag"] == ""


# --------------------------------------------------------------------------------------- kernels on inputs that are off

OFF = {  # which inputs of a kernel may be off, since they come from other kernels
    "matmul": (1,),
    "add": (0, 1),
    "rmsnorm": (0,),
    "rope": (0, 1, 2),
    "softmax": (0,),
    "attention": (0,),
    "silu": (0,),
    "swiglu": (0, 1),
}
SMALL = {"attention": (5, 4), "matmul_int8": (64,), "dequantize_int8": (64,), "rope_table": (8,)}


def judge_moved_inputs(kernel: str, derivation: str, kernels: Any, rng: np.random.Generator, scale: float) -> None:
    """Inputs at the corners of what they may be, or in between, in some arithmetic, by the bounds of these kernels."""
    spec = KERNELS[kernel]
    inputs = spec.random(rng, *SMALL.get(kernel, (8,)))
    args: list[Any] = list(inputs)
    moved = list(inputs)
    same = rng.choice([-1, 1])  # half of the time all go the same way
    for i in OFF[kernel]:
        value = inputs[i] * f32(rng.choice([1, 10]))
        error = np.abs(value) * scale * rng.random(value.size) + ETA
        ways = np.full(value.size, same) if rng.random() < 0.5 else rng.choice([-1, 1, 0.3], value.size)
        off = (value + error * ways).astype(f32)
        error = np.maximum(error, np.abs(off.astype(np.float64) - value))  # what is moved was rounded, too
        exact = value.astype(np.float64)
        pairs = zip(exact.tolist(), error.tolist(), strict=True)
        args[i] = carried(kernels, exact, error) if derivation == "Closed" else [Bounded(x, e) for x, e in pairs]
        moved[i] = off
    bound = any_ball(getattr(kernels, kernel)(*spec.arguments(*args)))
    found = implementations(kernel, wide=derivation == "Closed")
    name = str(rng.choice(list(found)))
    with np.errstate(all="ignore"):
        assert_within(found[name](spec.arguments(*moved)), bound, f"{kernel}, {name}")


def carried(kernels: Any, value: np.ndarray, error: np.ndarray) -> Any:
    """A Ball of the module that these kernels come from."""
    return type(kernels).add.__globals__["Ball"](value, error)


@pytest.mark.parametrize(
    ("kernel", "derivation"), [(k, d) for k in OFF for d in DERIVATIONS if hasattr(DERIVATIONS[d], k)]
)
@given(seed=seeds, scale=st.sampled_from((2.0**-20, 2.0**-10, 2.0**-4, 0.5)))
def test_errors_of_inputs_are_carried_through(derivation, kernel, seed, scale):
    judge_moved_inputs(kernel, derivation, DERIVATIONS[derivation], np.random.default_rng(seed), scale)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if hasattr(ClosedKernels, name)])
@given(seed=seeds)
def test_closed_formulas_cover_every_arithmetic(kernel, seed):
    rng, spec = np.random.default_rng(seed), KERNELS[kernel]
    args = spec.arguments(*spec.random(rng, *SMALL.get(kernel, (8,))))
    bound = as_ball(getattr(ClosedKernels(), kernel)(*args))
    for name, implementation in implementations(kernel, wide=True).items():
        assert_within(implementation(args), bound, f"{kernel}, {name}")


@pytest.mark.parametrize("derivation", DERIVATIONS)
def test_negative_scales_make_no_bound_smaller(derivation):
    """Those of int4 groups may be negative."""
    q, one = np.full((1, 32), 5, np.int8), np.array([2.0**-126])
    kernels: Any = DERIVATIONS[derivation]
    bounds = [as_ball(kernels.matmul_int8(q, np.array([[s]]), q[0], one)) for s in (6e4, -6e4)]
    assert bounds[0].error == bounds[1].error > 0
    assert bounds[0].value == -bounds[1].value


# ----------------------------------------------------------------------------------------------------- planted mistakes

SIZES = {"attention": (16, 16), "matmul_int8": (2048,), "rope_table": (64,)}
MORE = {"rmsnorm": 60, "rope": 40, "silu": 40, "swiglu": 40}  # random inputs, where designed ones are mild
PAIRS = [(k, d) for k in KERNELS for d in DERIVATIONS if hasattr(DERIVATIONS[d], k)]


def tried(kernel: str, derivation: str, kernels: Any, size: tuple[int, ...] | None = None) -> Trial:
    """The designed inputs and some random ones, judged by the bounds of these kernels. Raises BrokenBoundError."""
    trial = Trial(kernel, size or SIZES.get(kernel, (64,)), derivation)
    rng = np.random.default_rng(1)
    inputs = trial.spec.designed(*trial.size)
    inputs += [trial.spec.random(rng, *trial.size) for _ in range(MORE.get(kernel, 0))]
    for one in inputs:
        bound = any_ball(getattr(kernels, kernel)(*trial.spec.arguments(*one)))
        for name in trial.implementations:
            trial.judge(one, name, bound)
    return trial


def any_ball(bounds: Any) -> Ball:
    """As as_ball, also for the classes of a module that was made anew."""
    if isinstance(bounds, tuple):
        return as_ball(tuple(any_ball(part) for part in bounds))
    if hasattr(bounds, "error"):
        return Ball(bounds.value, bounds.error)
    return Ball(np.array([x.value for x in bounds]), np.array([x.error for x in bounds]))


@pytest.mark.parametrize(("kernel", "derivation"), PAIRS)
def test_no_bound_is_broken_and_half_of_it_would_be(kernel, derivation):
    trial = tried(kernel, derivation, DERIVATIONS[derivation])
    ratio, name = trial.row.largest()
    inputs = trial.row.best[name, False][1]
    bound = trial.bound(inputs)
    with pytest.raises(BrokenBoundError, match=f"(?s){kernel} .*{derivation}.*inputs:\n"):
        trial.judge(inputs, name, Ball(bound.value, bound.error / 2))
    assert 0.5 < ratio <= SLACK


def planted(module: ModuleType, right: str, wrong: str) -> Any:
    """The kernels of bounded.py or closed.py, with a text in their source changed."""
    text = Path(module.__file__).read_text()
    assert right in text
    copy = ModuleType(module.__name__ + "_planted")
    copy.__package__ = module.__package__
    exec(compile(text.replace(right, wrong), "planted", "exec"), vars(copy))
    return copy.BoundedKernels() if module is bounded_module else copy.ClosedKernels()


def off_by_their_errors(kernel: str, derivation: str, kernels: Any) -> None:
    for seed in range(60):
        judge_moved_inputs(kernel, derivation, kernels, np.random.default_rng(seed), 2.0**-4)


def test_offsets_are_groups_of_ones():
    """What a sum may be off by must not depend on whether a term is called an offset."""
    rng = np.random.default_rng(1)
    (w_q, x_q), (scale, offset) = rng.integers(-8, 8, (2, 3, 64)), rng.standard_normal((2, 3, 4))
    x_scale = np.abs(rng.standard_normal(4))
    ones, twice = np.hstack((w_q, np.ones_like(w_q))), np.hstack((scale, offset))
    for kernels in (ClosedKernels(), BoundedKernels()):
        some = kernels.matmul_int8(w_q, scale, x_q[0].tolist(), x_scale.tolist(), offset)
        same = kernels.matmul_int8(ones, twice, 2 * x_q[0].tolist(), 2 * x_scale.tolist())
        for a, b in ((as_ball(some).value, as_ball(same).value), (as_ball(some).error, as_ball(same).error)):
            assert np.allclose(a, b, rtol=1e-12, atol=0)
        numbers = as_ball(kernels.dequantize_int8(w_q[0], scale[0], offset[0]))
        assert np.allclose(numbers.value, w_q[0] * scale[0].repeat(16) + offset[0].repeat(16), rtol=1e-12, atol=1e-15)
        assert np.all(numbers.error >= U * np.abs(numbers.value))


@pytest.mark.parametrize("factor", [2.0, 32.0])
def test_scaled_angles_may_err_as_much_as_they_are_sensitive(factor):
    """A frequency that is off by little, where Llama 3's scaling is steepest: the bound must grow with it."""
    scaling = llama2_ref.RopeScaling("llama3", factor, 1.0, 4.0, 8192)
    frequency = 2 * math.pi / 8192 * 1.0001  # one that just begins to turn
    grown = abs(scaling.scale(frequency * (1 + 1e-9)) / scaling.scale(frequency) - 1) / 1e-9
    assert 1 + 0.3 * (factor - 1) < grown <= scaling.sensitivity
    position = 2**40  # where rounding to float32 is nothing
    for kernels in (ClosedKernels(), BoundedKernels()):
        plain, scaled = (as_ball(kernels.rope_table(position, 8, 1e4, *more)[0]) for more in ((), (scaling,)))
        angles = position * np.array([1e4 ** (-i / 8) for i in range(0, 8, 2)])
        assert np.all(plain.error >= TABLE_REL * angles)
        changed = np.array([scaling.scale(angle / position) * position for angle in angles])
        assert np.all(scaled.error >= scaling.sensitivity * TABLE_REL * changed)


WHERE = {"attention: scale in the query": (2, 32), "scale in the query": (2, 32)}  # sizes that show some of them
MISTAKES = {  # kernel, part of its closed formula, what is put in its place
    "matmul: roundings": ("matmul", "g * largest[rows]", "0 * largest[rows]"),
    "matmul: inputs": ("matmul", "product(magnitudes, x.error) + ", ""),
    "matmul: one rounding for all": ("matmul", "g * largest[rows]", "U * largest[rows]"),
    "matmul: underflow": ("matmul", "len(x) * ETA / 2 * (1 + g)", "0"),
    "matmul: underflow of one product": ("matmul", "len(x) * ETA / 2 * (1 + g)", "ETA"),
    "add: rounding": ("add", "error = moved + U * (np.abs(value) + moved)", "error = moved"),
    "add: inputs": ("add", "error = moved + U * (np.abs(value) + moved)", "error = U * np.abs(value)"),
    "rmsnorm: inputs in the mean": ("rmsnorm", "np.mean((2 * size + x.error) * x.error) + ", ""),
    "rmsnorm: inputs in front": ("rmsnorm", "weight * (size + x.error) * (", "weight * size * ("),
    "rmsnorm: roundings": ("rmsnorm", "(1 + gamma(4))", "(1 + gamma(2))"),
    "rmsnorm: underflow": ("rmsnorm", "+ ETA * (1 + np.maximum(weight, others))", ""),
    "rope_table: rounding": ("rope_table", "U * np.abs(c)", "U / 2 * np.abs(c)"),
    "rope: roundings": ("rope", "moved + gamma(2) * (", "moved + gamma(1) * ("),
    "rope: inputs": ("rope", "dp * np.abs(c.value) + ", ""),
    "rope: cosines": ("rope", "size_p * c.error + ", ""),
    "rope: sines": ("rope", "size_q * s.error + ", ""),
    "rope: underflow": ("rope", " + ETA * (1 + gamma(2))", ""),
    "attention: scores": ("attention", "gamma(size + 3) * magnitude", "0 * magnitude"),
    "attention: query": ("attention", " + product(sizes_k, dq)", ""),
    "attention: weights": ("attention", "product(np.abs(v - out).T, off) + ", ""),
    "attention: weighted sum": ("attention", "gamma(count + 2) * sizes) / (1 - g)", "0)"),
    "attention: sum of weights": ("attention", " + g / (1 - g) * np.abs(out)", ""),
    "attention: scale in the query": ("attention", " + ETA * (size * scale + 1 + np.sum(sizes_k, axis=1))", ""),
    "attention: underflow": ("attention", "error = error + ETA * (count + np.sum(np.abs(v), axis=0))", "pass"),
    "swiglu: exp": ("swiglu", "np.minimum(rest + a.error / 4, 1) * EXP_REL", "0"),
    "swiglu: roundings": ("swiglu", "(1 + gamma(5))", "(1 + gamma(2))"),
    "swiglu: gate": ("swiglu", "error = moved * size_b + ", "error = "),
    "swiglu: up": ("swiglu", "np.abs(silu) * b.error + ", ""),
    "swiglu: exp of what flushes": ("swiglu", "(EXP_ABS + ETA)", "ETA"),
    "swiglu: underflow": ("swiglu", " + ETA * (size_b + 1)", ""),
    "dequantize_int8: rounding": ("dequantize_int8", "U * np.abs(value) + ETA / 2", "U / 2 * np.abs(value)"),
    "matmul_int8: roundings": ("matmul_int8", "g * size + under", "under"),
    "matmul_int8: underflow": ("matmul_int8", "g * size + under", "g * size"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_part_of_a_formula_that_is_left_out_is_missed(name):
    kernel, right, wrong = MISTAKES[name]
    kernels = planted(closed_module, right, wrong)
    with pytest.raises((BrokenBoundError, AssertionError)), np.errstate(all="ignore"):
        if kernel in OFF:
            off_by_their_errors(kernel, "Closed", kernels)
        tried(kernel, "Closed", kernels, WHERE.get(name))


OF_NUMBERS = {  # kernel that shows it, part of bounded.py, what is put in its place
    "a chain is charged once": ("matmul", "n = self.count - 1", "n = 1"),
    "a chain is charged for its value": ("matmul", "(1 - n * U) * self.magnitude", "(1 - n * U) * abs(self.value)"),
    "a sum of two is not rounded": (
        "add",
        "error = self.terms + U * (abs(self.value) + self.terms)",
        "error = self.terms",
    ),
    "errors of terms are lost": ("rope", "self.terms + other.terms,", "self.terms,"),
    "products do not underflow": ("matmul", "U * (abs(value) + moved) + ETA / 2", "U * (abs(value) + moved)"),
    "products are not rounded": ("dequantize_int8", "moved + U * (abs(value) + moved) + ETA / 2", "moved + ETA / 2"),
    "quotients are rounded once": ("silu", "2.01 * U", "1.01 * U"),
    "what is divided by is exact": ("softmax", "abs(value) * other.error) / smallest", "0) / smallest"),
    "exp is rounded only": ("softmax", "EXP_REL = 4 * U", "EXP_REL = U"),
    "exp never flushes": ("silu", "EXP_ABS = 2.0**-125", "EXP_ABS = 2.0**-150"),
    "exp of what is off": ("softmax", "math.exp(self.value + self.error)", "math.exp(self.value)"),
    "roots of what is off": ("rmsnorm", "moved = value - math.sqrt(self.value - self.error)", "moved = 0.0"),
    "scale in the query": ("attention", "underflow = ETA / 2 * math.sqrt(len(q) / n_heads)", "underflow = 0.0"),
    "cosines are exact": ("rope_table", "U * abs(math.cos(angle)) + ", ""),
    "sines are exact": ("rope_table", "U * abs(math.sin(angle)) + ", ""),
}


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_an_error_that_numbers_forget_is_missed(name):
    kernel, right, wrong = OF_NUMBERS[name]
    kernels = planted(bounded_module, right, wrong)
    number = type(kernels).softmax.__globals__["Bounded"]
    with pytest.raises((BrokenBoundError, AssertionError, ZeroDivisionError)), np.errstate(all="ignore"):
        for operator in OPERATORS:
            assert worst_ratio(operator, number) <= SLACK
        tried(kernel, "Bounded", kernels, WHERE.get(name))


def weights_at_their_limits(weights: Callable[..., tuple[np.ndarray, np.ndarray]]) -> float:
    """One power as large as it may be, all others as small, or the other way: how close that comes to the bound."""
    worst = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(6) * 10.0 ** rng.integers(-2, 2)
        dx = np.full(6, 10.0 ** -rng.integers(3, 9)) * rng.integers(0, 2)
        p, off = weights(x, dx)
        z = x - x.max()
        d = dx + (np.abs(z) + dx + dx.max()) * U  # the common shift may be off, too, which only a rounding notices
        powers = {way: np.exp(z + way * d) * (1 + way * EXP_REL) + way * EXP_ABS for way in (-1, 1)}
        for i in range(6):
            for way in (-1, 1):
                own, others = powers[way][i], np.delete(powers[-way], i).sum()
                ratio = abs(own / (own + others) - p[i]) / off[i]
                assert ratio <= SLACK * (1 + 2.0**-53 / off[i])
                worst = max(worst, ratio)
    return float(worst)


def test_weights_may_be_as_far_off_as_the_interval_form_says():
    assert weights_at_their_limits(closed_module._weights) > 0.999


OF_WEIGHTS = {
    "exp": (" + EXP_REL * np.exp(d)", ""),
    "rounded differences": ("(np.abs(z) + dx + np.max(dx)) * U", "0"),
    "scores": ("np.minimum(dx + (", "np.minimum(("),
    "the others": ("high / (high + (np.sum(low) - low))", "high / (high + (np.sum(power) - power))"),
}


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_an_error_that_weights_forget_is_missed(name):
    kernels = planted(closed_module, *OF_WEIGHTS[name])
    with pytest.raises(AssertionError):
        weights_at_their_limits(type(kernels).attention.__globals__["_weights"])


def test_far_angles_may_err_more() -> None:
    """Where theta's power and the product with a position count, and not the rounding to float32 alone."""
    position, head_size = 2**25, 8
    near = [table.error for table in ClosedKernels().rope_table(1, head_size, 10000.0)]
    far = [table.error for table in ClosedKernels().rope_table(position, head_size, 10000.0)]
    objects = BoundedKernels().rope_table(position, head_size, 10000.0)
    for closed, other, errors in zip(far, objects, near, strict=True):
        assert np.allclose(closed, [number.error for number in other], rtol=1e-9)
        assert closed[0] > errors[0]
