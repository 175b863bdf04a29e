"""Who imports whom: as the table in docs/design.md says, without a circle, and the oracle alone at the top."""

import ast
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import llama2_ref

SOURCE = Path(llama2_ref.__file__).parents[1]
DESIGN = Path(__file__).parents[3] / "docs" / "design.md"
ORACLE = ("errors", "config", "weights", "quantize", "kernels", "transformer", "tokenizer", "sampler", "bounded")
ORACLE_LINES, FILE_LINES = 2000, 350  # an afternoon; half an hour

pytestmark = pytest.mark.skipif(not DESIGN.exists(), reason="a source distribution may come without docs")


def modules() -> dict[str, Path]:
    """Every module by its name below src/: packages by the names of their folders."""
    paths = [path for package in ("llama2_ref", "llama2_fast") for path in (SOURCE / package).rglob("*.py")]
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imports(module: str, deep: bool = True) -> Iterator[str]:
    """The modules that one imports, ours by their full names; `deep`: inside functions, too."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if deep else _at_import(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            found = [name if name in MODULES else base for name in names]
            yield from dict.fromkeys(found)


def _at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported."""
    for node in body:
        yield node
        for part in ("body", "orelse", "handlers", "finalbody"):
            if not isinstance(node, ast.FunctionDef):
                yield from _at_import([each for each in getattr(node, part, []) if isinstance(each, ast.stmt)])


def table() -> dict[str, tuple[list[str], list[str], list[str]]]:
    """Room -> patterns of its modules, rooms that it may import, packages that it may import."""
    text = DESIGN.read_text()
    rows = re.findall(r"^\| \*\*([\w ]+)\*\* \| (.*?) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    return {
        room: (re.findall(r"`([^`]+)`", of), rooms.split(", "), re.findall(r"\w+", p)) for room, of, rooms, p in rows
    }


ROOMS = table()


def room_of(module: str) -> str:
    """The room of a module: the first row of the table whose pattern fits."""
    fits = [room for room, (patterns, _, _) in ROOMS.items() if any(fnmatchcase(module, each) for each in patterns)]
    assert fits, f"{module} has no room in the table of docs/design.md"
    return fits[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_are_those_of_the_table(module: str) -> None:
    room = room_of(module)
    _, rooms, packages = ROOMS[room]
    for name in imports(module):
        top = name.split(".")[0]
        if name in MODULES:
            theirs = room_of(name)
            assert theirs == room or theirs in rooms or "everything" in rooms, (
                f"{module} ({room}) imports {name} ({theirs})"
            )
        elif top not in sys.stdlib_module_names:
            assert top in packages, f"{module} ({room}) imports {top}"


def test_every_room_of_the_table_is_there() -> None:
    assert len(ROOMS) > 10
    used = {room_of(module) for module in MODULES}
    assert used == set(ROOMS)
    assert {name for _, rooms, _ in ROOMS.values() for name in rooms} - {"nothing of ours", "everything"} <= used


def test_no_circle_is_imported() -> None:
    """By what runs when a module is imported. A package stands for what its __init__ imports."""
    graph = {module: {name for name in imports(module, deep=False) if name in MODULES} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " imports ".join([*path[path.index(module) :], module])
        if module not in done:
            for name in sorted(graph[module] - {module}):
                visit(name, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_the_oracle_stands_alone_at_the_top() -> None:
    """Its files and nothing else but what runs it; it imports itself and the standard library."""
    top = {path.stem for path in (SOURCE / "llama2_ref").glob("*.py")}
    assert top == {*ORACLE, "__init__", "__main__", "model"}
    for name in ORACLE:
        for other in imports(f"llama2_ref.{name}"):
            ours = other.removeprefix("llama2_ref.").split(".")[0]
            assert other == "llama2_ref" or ours in ORACLE or other.split(".")[0] in sys.stdlib_module_names, (
                name,
                other,
            )


def test_the_oracle_is_read_in_an_afternoon() -> None:
    """In the order that the package itself and docs/design.md name; each file uses only those before it."""
    lengths = {name: len((SOURCE / "llama2_ref" / f"{name}.py").read_text().splitlines()) for name in ORACLE}
    assert sum(lengths.values()) <= ORACLE_LINES, lengths
    assert max(lengths.values()) <= FILE_LINES, lengths
    for text in (llama2_ref.__doc__ or "", DESIGN.read_text().partition("## The oracle")[2]):
        places = [text.find(f"{name}.py") for name in ORACLE]
        assert -1 not in places
        assert places == sorted(places)
    for place, name in enumerate(ORACLE):
        later = {f"llama2_ref.{other}" for other in ORACLE[place:]}
        assert not later & set(imports(f"llama2_ref.{name}")), name


LOADS = {"import_module", "import_extra", "__import__", "find_spec"}


def test_no_numpy_in_the_reference() -> None:
    """Not even by a name in a string: array work comes in through one seam."""
    for module, path in MODULES.items():
        if module.startswith("llama2_ref"):
            tree = ast.parse(path.read_text())
            calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
            named = {ast.unparse(call.args[0]) for call in calls if call.args and _name(call.func) in LOADS}
            words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert not {"np", "numpy"} & words, module
            assert not {"numpy", "'numpy'"} & (named | set(imports(module))), module


def _name(function: ast.expr) -> str:
    """The last part of a function's name."""
    return ast.unparse(function).rpartition(".")[2]


def test_names_with_an_underscore_stay_in_their_file() -> None:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name[1] != "_"]
                assert not names or (node.module or "").startswith("_"), f"{module} imports {names}"
