"""Small mistakes, planted by rule: every mutant of a module is its text with one edit.

An edit replaces one node of the syntax tree, and as many lines as it had, so that all other lines keep their numbers.
Texts for people are left alone (docstrings, f-strings, messages of errors), and so are annotations, imports and names
that a module exports.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
PAIRS = (("min", "max"), ("any", "all"), ("argmin", "argmax"), ("cos", "sin"), ("float32", "float64"))
NAMES = {a: b for one, other in PAIRS for a, b in ((one, other), (other, one))}
NAMES |= {"float16": "float32", "zeros": "empty"}
BUILTINS = {"min", "max", "any", "all"}  # of these names, those that stand alone
COMMUTATIVE = {"add", "min", "max", "fma", "fma_half", "fma_double", "fma_scalar"}  # in their first two arguments
OF_A_TYPE = {"isinstance", "asarray"}  # with a value and a type, which nobody confuses
SWAPPED = (ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.BinOp, ast.Constant)
WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Mutant:
    """One edit of one file."""

    file: str
    line: int
    column: int
    operator: str
    number: int  # among those of an operator at one place
    lines: tuple[int, int]  # of the statement around, without its body
    function: str  # whose code it is in: "" for what an import executes
    place: slice  # in the bytes of the file
    old: str
    new: str

    @property
    def id(self) -> str:
        """FILE:LINE:COLUMN:OPERATOR:NUMBER"""
        return f"{self.file}:{self.line}:{self.column}:{self.operator}:{self.number}"

    def apply(self, text: bytes) -> bytes:
        """The text of the file with the edit in it."""
        missing = b"\n" * (text[self.place].count(b"\n") - self.new.count("\n"))
        new = self.new.encode()
        new = new[:-1] + missing + b")" if new.endswith(b")") else new + missing
        return text[: self.place.start] + new + text[self.place.stop :]


def mutants(text: bytes, file: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: list[Mutant] = []
    counts: dict[tuple[int, int, str], int] = {}
    for node, operator, replacement, lines, function in _Finder().edits(ast.parse(text)):
        old, new = ast.unparse(node), ast.unparse(replacement)
        if new == old:
            continue
        key = node.lineno, node.col_offset, operator
        counts[key] = counts.get(key, -1) + 1
        place = slice(starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset)
        whole = new if isinstance(replacement, ast.stmt) else f"({new})"
        found.append(Mutant(file, *key, counts[key], lines, function, place, old, whole))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.column, mutant.operator, mutant.number))


Edit = tuple[Any, str, Any]  # a node, the name of a rule, and what takes the node's place


class _Finder:
    """Walks over a module, and finds what can be edited."""

    def __init__(self) -> None:
        self._bound: list[set[str]] = []  # names that have a value already, in each function around
        self._lines = (0, 0)
        self._unknown: list[Any] = []  # ones in reshape(-1): numpy takes any other negative number alike
        self._names: list[str] = []  # of classes, and of the outermost function

    def edits(self, tree: ast.Module) -> Iterator[tuple[Any, str, Any, tuple[int, int], str]]:
        """All edits, each with the lines of its statement and the name of its outermost function."""
        for node, operator, replacement in self._statements(tree.body):
            yield node, operator, replacement, self._lines, ".".join(self._names) if self._bound else ""

    def _statements(self, body: list[Any]) -> Iterator[Edit]:
        for statement in body:
            yield from self._statement(statement)

    def _statement(self, node: Any) -> Iterator[Edit]:
        inner = getattr(node, "body", None)
        self._lines = node.lineno, max(node.lineno, inner[0].lineno - 1) if inner else node.end_lineno
        if _is_text(node) or _is_alias(node) or isinstance(node, (ast.Import, ast.ImportFrom)):
            return
        if self._bound and self._can_go(node):
            yield node, "deleted", ast.Pass()
        if isinstance(node, ast.Raise):
            return
        if isinstance(node, ast.Return) and node.value is not None:
            yield node, "return", ast.Return(ast.Constant(None))
        if isinstance(node, ast.AugAssign):
            yield node, "arithmetic", _changed(node, op=ARITHMETIC[type(node.op)]())
        if isinstance(node, (ast.If, ast.While)):
            yield from _condition(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, EXPRESSIONS) and child not in (getattr(node, name, None) for name in TYPES):
                yield from self._expression(child)
        if isinstance(node, ast.FunctionDef):
            yield from self._function(node)
            return
        if isinstance(node, ast.ClassDef):
            self._names.append(node.name)
        for part in ("body", "orelse", "finalbody"):
            yield from self._statements(getattr(node, part, []))
        if isinstance(node, ast.ClassDef):
            self._names.pop()
        for handler in getattr(node, "handlers", []):
            yield from self._statements(handler.body)

    def _function(self, node: ast.FunctionDef) -> Iterator[Edit]:
        arguments = node.args
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                yield from self._expression(default)
        outermost = [node.name] if not self._bound else []
        self._names += outermost
        self._bound.append({argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)})
        yield from self._statements(node.body)
        self._bound.pop()
        del self._names[len(self._names) - len(outermost) :]

    def _can_go(self, node: Any) -> bool:
        """Can a statement be left out? Without its first value a name would only be missing."""
        if isinstance(node, ast.Assign):
            return not self._bind(node.targets)
        if isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            return not self._bind([node.target])
        if isinstance(node, ast.For):
            self._bind([node.target])
        return isinstance(node, (ast.Expr, ast.Raise, ast.Continue, ast.Break))

    def _bind(self, targets: list[Any]) -> set[str]:
        """Note names that get a value, and tell which had none."""
        nodes = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        new = {node.id for node in nodes if isinstance(node.ctx, ast.Store)} - self._bound[-1]
        self._bound[-1] |= new
        return new

    def _expression(self, node: Any) -> Iterator[Edit]:
        if isinstance(node, ast.JoinedStr):
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
            self._unknown += [arg.operand for arg in node.args if isinstance(arg, ast.UnaryOp)]
        for rule in RULES.get(type(node), ()):
            for edit in rule(node):
                if not (node in self._unknown and edit[2].value > node.value):
                    yield edit
        for child in ast.iter_child_nodes(node):
            if isinstance(child, EXPRESSIONS):
                yield from self._expression(child)


TYPES = ("annotation", "returns")
EXPRESSIONS = (ast.expr, ast.comprehension, ast.keyword, ast.withitem)  # slices are expressions, too


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_alias(node: ast.stmt) -> bool:
    """What a module exports, its version, and types with names of their own."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return False
    name = node.targets[0].id
    return name.startswith("__") or (isinstance(node.value, ast.Subscript) and name[0].isupper() and not name.isupper())


# --------------------------------------------------------------------------------------------------------------- rules


def _changed(node: Any, **fields: Any) -> Any:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _replaced(items: list[Any], i: int, *new: Any) -> list[Any]:
    return [*items[:i], *new, *items[i + len(new) :]]


def _compare(node: ast.Compare) -> Iterator[Edit]:
    for i, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            yield node, "compare", _changed(node, ops=_replaced(node.ops, i, other()))


def _arithmetic(node: ast.BinOp) -> Iterator[Edit]:
    if not any(isinstance(side, ast.Constant) and side.value is None for side in (node.left, node.right)):
        yield node, "arithmetic", _changed(node, op=ARITHMETIC[type(node.op)]())


def _boolean(node: ast.BoolOp) -> Iterator[Edit]:
    yield node, "boolean", _changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _unary(node: ast.UnaryOp) -> Iterator[Edit]:
    yield node, {ast.Not: "not", ast.USub: "minus", ast.Invert: "invert"}[type(node.op)], node.operand


def _constant(node: ast.Constant) -> Iterator[Edit]:
    value, others = node.value, list[Any]()
    if isinstance(value, bool):
        others = [not value]
    elif isinstance(value, int):
        others = [value + 1, value - 1]
    elif isinstance(value, float):
        others = [value * 2, value * 1.000001] if value else [1.0]
    elif isinstance(value, str) and WORD.fullmatch(value):
        others = [f"not_{value}"]
    for other in others:
        yield node, "constant", ast.Constant(other)


def _name(node: ast.Name) -> Iterator[Edit]:
    if node.id in BUILTINS:
        yield node, "name", ast.Name(NAMES[node.id])


def _attribute(node: ast.Attribute) -> Iterator[Edit]:
    if node.attr in NAMES and isinstance(node.ctx, ast.Load):
        yield node, "name", _changed(node, attr=NAMES[node.attr])


def _call(node: ast.Call) -> Iterator[Edit]:
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    for i in range(len(node.args) - 1):
        a, b = node.args[i : i + 2]
        if type(a) is type(b) and isinstance(a, SWAPPED) and not (i == 0 and name in COMMUTATIVE | OF_A_TYPE):
            yield node, "swapped", _changed(node, args=_replaced(node.args, i, b, a))
    for i, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield node, "keyword", _changed(node, keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])


def _slice(node: ast.Subscript) -> Iterator[Edit]:
    """Bounds moved by one; those that are constants are changed as such."""
    for part in [node.slice] if isinstance(node.slice, ast.Slice) else getattr(node.slice, "elts", []):
        for name in ("lower", "upper") if isinstance(part, ast.Slice) else ():
            bound = getattr(part, name)
            if bound is not None and not isinstance(bound, ast.Constant):
                for operator in (ast.Add(), ast.Sub()):
                    yield bound, "slice", ast.BinOp(bound, operator, ast.Constant(1))


def _condition(node: Any) -> Iterator[Edit]:
    """Conditions that no other rule turns round."""
    for test in node.ifs if isinstance(node, ast.comprehension) else [node.test]:
        if isinstance(test, (ast.Name, ast.Attribute, ast.Call, ast.BinOp, ast.Subscript)):
            yield test, "condition", ast.UnaryOp(ast.Not(), test)


RULES: dict[type, tuple[Callable[[Any], Iterator[Edit]], ...]] = {
    ast.Compare: (_compare,),
    ast.BinOp: (_arithmetic,),
    ast.BoolOp: (_boolean,),
    ast.UnaryOp: (_unary,),
    ast.Constant: (_constant,),
    ast.Name: (_name,),
    ast.Attribute: (_attribute,),
    ast.Call: (_call,),
    ast.Subscript: (_slice,),
    ast.IfExp: (_condition,),
    ast.comprehension: (_condition,),
}
