"""The rule of twins: one import line switches between the packages."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import llama2_fast
import llama2_ref

SRC = Path(llama2_ref.__file__).parents[1]
SHARED = {"bounded.py", "config.py", "errors.py"}  # nothing to make faster: both packages use the reference's


def modules(package):
    return {path.name for path in (SRC / package).glob("*.py") if not path.name.startswith("_")}


def public(package):
    """name -> object, for functions and classes, and for the public names of classes."""
    found = {}
    for module in (package, package.kernels):
        for name in module.__all__:
            thing = found[name] = getattr(module, name)
            if inspect.isclass(thing) and not issubclass(thing, Exception):
                found |= {f"{name}.{key}": value for key, value in inspect.getmembers(thing) if key[0] != "_"}
    cache = package.KVCache(package.Config(2, 1, 1, 1, 1, 1, 1))
    return found | {f"KVCache.{key}": None for key in dir(cache) if key[0] != "_"}


def test_public_names_are_equal():
    assert llama2_fast.__all__ == llama2_ref.__all__
    assert llama2_fast.kernels.__all__ == llama2_ref.kernels.__all__
    assert llama2_fast.__version__ == llama2_ref.__version__
    assert set(public(llama2_fast)) == set(public(llama2_ref))


def test_signatures_are_equal():
    """Names, kinds and defaults; the fast one may add keyword-only knobs with defaults."""
    fast = public(llama2_fast)
    for name, thing in public(llama2_ref).items():
        if not inspect.isfunction(thing) and not (inspect.isclass(thing) and "__init__" in vars(thing)):
            continue  # errors, dictionaries and properties have no signature of their own
        ours, theirs = (list(inspect.signature(each).parameters.values()) for each in (thing, fast[name]))
        assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in theirs[len(ours) :]), name
        for a, b in zip(ours, theirs, strict=False):
            assert (a.name, a.kind) == (b.name, b.kind), (name, a, b)
            assert a.default == b.default or (inspect.ismodule(a.default) and inspect.ismodule(b.default)), (name, a, b)


def test_files_mirror_each_other():
    assert modules("llama2_fast") == modules("llama2_ref") - SHARED


def test_first_lines_name_the_same_thing():
    """The twin's docstring begins like the reference's, or says that it is as that."""
    for module in sorted(modules("llama2_fast")):
        texts = [
            ast.get_docstring(ast.parse((SRC / package / module).read_text()))
            for package in ("llama2_ref", "llama2_fast")
        ]
        assert all(texts), module
        assert f"llama2_ref.{module[:-3]}" in texts[1] or "kernels of llama2_ref" in texts[1], module


def test_the_reference_imports_the_standard_library_only():
    code = (
        "import sys; before = set(sys.modules); import llama2_ref, llama2_ref.cli.main; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    names = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "llama2_ref" in names
    assert set(names) - {"llama2_ref"} <= sys.stdlib_module_names


KERNELS = set(llama2_ref.kernels.__all__)  # classes with methods of these names: the reference says what they do


def functions(package):
    """Functions and methods, but not those inside functions."""
    for path in sorted((SRC / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(part for c in classes for part in c.body)]:
            if isinstance(node, ast.FunctionDef):
                yield path.name, node


def test_reference_functions_can_be_read_at_a_glance():
    """At most 25 lines, docstring aside."""
    for name, node in functions("llama2_ref"):
        docstring = ast.get_docstring(node, clean=False) or ""
        length = node.end_lineno - node.lineno + 1 - (len(docstring.splitlines()) if docstring else 0)
        assert length <= 25, f"{name}: {node.name} has {length} lines"


@pytest.mark.parametrize("package", ["llama2_ref", "llama2_fast"])
def test_public_functions_say_what_they_do(package):
    for path in sorted((SRC / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        methods = [part for each in classes for part in each.body if getattr(part, "name", "") not in KERNELS]
        for node in [*tree.body, *methods]:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                overload = any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
                assert overload or ast.get_docstring(node), f"{path}: {node.name}"


def test_errors_have_one_base():
    for name in llama2_ref.__all__:
        thing = getattr(llama2_ref, name)
        if inspect.isclass(thing) and issubclass(thing, Exception):
            assert issubclass(thing, llama2_ref.Llama2Error)
            assert getattr(llama2_fast, name) is thing
