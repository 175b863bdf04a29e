"""Machine code for a changed copy of the compiled engine, in under a second instead of eight.

Numba takes most of the time that the kernels need to be compiled. `Engine` lets it compile all of them once. For a copy
of the source it then compiles only the functions that differ, or that use a constant, a helper or a vector operation
that does, and links them in place of the old ones. The code is not optimized: that changes its speed, not its bits.

The engine is changed by that: it is meant for a process that is forked off for one copy.
"""

import ast
import importlib
import os
import platform
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

KERNELS = (  # each uses those before it
    "tables", "packed_layout", "kernels.instructions", "kernels.vectors", "kernels.byte_dots", "kernels.float_formats",
    "kernels.operands", "kernels.records", "kernels.elementary", "kernels.rows", "kernels.attention",
    "kernels.float_products", "kernels.packed_rows", "kernels.int_products", "kernels.step", "kernels.entries",
)  # fmt: skip
DECORATOR = "jit"
TYPES = {"Vector", "Format", "Record", "RecordAddress"}  # classes of numba's types, and what types are made from
AVX2 = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+ssse3,+sse4.2,+bmi,+bmi2,+f16c,+sse2"}


class NotIncremental(Exception):  # noqa: N818 (it is no error: the whole engine must be compiled)
    """More than the bodies of kernels has changed."""


def avx2() -> bool:
    """Does code for AVX2 run here?"""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return platform.machine() in ("x86_64", "AMD64") and all(features.get(name) for name in ("avx2", "fma", "f16c"))


def choose_processor() -> None:
    """Compile for AVX2 wherever that runs, so that a bug in its instructions is planted on newer processors, too."""
    if avx2():
        os.environ.update(AVX2)


class Engine:
    """The kernels of the package that is imported now, compiled by numba."""

    def __init__(self) -> None:
        import llvmlite.binding as llvm

        from llama2_fast.engines.simd.compiler import build

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._build, self._llvm = build, llvm
        self._modules = {name: importlib.import_module(f"llama2_fast.engines.simd.{name}") for name in KERNELS}
        self._nodes = {name: _statements(_path(module)) for name, module in self._modules.items()}
        self._text, self.symbols = build.compile_module()
        self._code = self._emit(self._text)

    def code_of(self, folder: Path) -> tuple[bytes, dict[str, str]]:
        """Machine code of the kernels in a copy of `engines/simd`, and the symbols of its entries.

        Raises NotIncremental if the copy differs in more than bodies of kernels, operations and constants.
        """
        if any(_differs(module, folder / "compiler") for module in _makers()):
            raise NotIncremental("how code is made has changed")
        others = [name for name in KERNELS if _differs(self._modules[name], (folder / _place(name)).parent)]
        changed = [
            (name, node) for name in others for node in _changes(self._nodes[name], _statements(folder / _place(name)))
        ]
        if not changed:
            return self._code, self.symbols
        self._recompile(changed)
        text, _ = self._build.compile_module()
        return self._emit(text), self.symbols

    def _emit(self, text: str) -> bytes:
        """Code for this processor, which is not optimized."""
        from llama2_fast.engines.simd.compiler.target import processor

        name, features = processor()
        machine = self._llvm.Target.from_default_triple().create_target_machine(
            cpu=name, features=features, opt=0, reloc="default", codemodel="jitdefault", jit=True
        )
        module = self._llvm.parse_assembly(text)
        module.triple, module.data_layout = self._llvm.get_process_triple(), str(machine.target_data)
        return bytes(machine.emit_object(module))

    def _recompile(self, changed: list[tuple[str, ast.stmt]]) -> None:
        """Execute changed statements in their modules, and compile what depends on them, in place of the old code."""
        kernels = {name: (module, node) for module in KERNELS for name, node in _kernels(self._nodes[module])}
        new = {name: (module, node) for module, node in changed for name in _bound(node)}
        again = new.keys() & kernels.keys()
        users = self._users(new.keys() - again, kernels.keys())
        again |= users & kernels.keys()
        old = {name: getattr(self._modules[kernels[name][0]], name) for name in again}
        for module, node in changed:
            if not again.intersection(_bound(node)):
                self._execute(module, node)
        for module, node in self._made_by(users - new.keys()):
            self._execute(module, node)
        for name in (name for name in kernels if name in again):  # in their order: each uses those before it
            self._execute(*new.get(name, kernels[name]))
        self._replace({name: (old[name], getattr(self._modules[kernels[name][0]], name)) for name in again})
        for name in again:  # the old one stands for what is linked
            setattr(self._modules[kernels[name][0]], name, old[name])

    def _users(self, names: Set[str], kernels: Set[str]) -> set[str]:
        """What mentions one of some operations or constants: kernels, and helpers, and what mentions those."""
        found: set[str] = set()
        while True:
            users = {name for nodes in self._nodes.values() for node in nodes for name in _bound(node)
                     if names & _mentioned(node)}  # fmt: skip
            if users <= found | names:
                return found
            found |= users
            names = names | (users - kernels)

    def _made_by(self, names: Set[str]) -> Iterator[tuple[str, ast.stmt]]:
        """The assignments that bind some names: what a helper has made, such as kernels for several types, is old."""
        for module, nodes in self._nodes.items():
            yield from ((module, node) for node in nodes if isinstance(node, ast.Assign) and names & {*_bound(node)})

    def _execute(self, module: str, node: ast.stmt) -> None:
        """Bind what a statement binds, in its module and in those that have imported the old."""
        space = vars(self._modules[module])
        old = {name: space.get(name) for name in _bound(node)}
        exec(compile(ast.Module([node], []), space["__file__"], "exec"), space)
        for other in self._modules.values():
            for name, thing in old.items():
                if vars(other).get(name) is thing:
                    setattr(other, name, space[name])

    def _replace(self, pairs: dict[str, tuple[Any, Any]]) -> None:
        """Compile new functions with the types of the old ones, and put their text where that of those was."""
        found, names = [], {}
        for name, (old, new) in pairs.items():
            for types, compiled in list(old.overloads.items()):
                new.compile(types)
                fresh = new.overloads[types]
                if fresh.signature.return_type != compiled.signature.return_type:
                    raise NotIncremental(f"{name} returns {fresh.signature.return_type} now")
                names[fresh.fndesc.llvm_func_name] = compiled.fndesc.llvm_func_name
                found.append((compiled.library, fresh.library))
        replaced = {fresh: library for library, fresh in found}
        for library, fresh in found:
            library.texts[:] = [_renamed(text, names) for text in fresh.texts]
            library.called += [replaced.get(each, each) for each in fresh.called]


def _makers() -> Iterator[ModuleType]:
    """The modules that turn kernels into code, and that decide for which processor."""
    return (importlib.import_module(f"llama2_fast.engines.simd.compiler.{name}") for name in ("build", "jit", "target"))


def _differs(module: ModuleType, folder: Path) -> bool:
    """Is the text of a module another one in a folder?"""
    return (folder / _path(module).name).read_bytes() != _path(module).read_bytes()


def _place(name: str) -> Path:
    """The file of a module, below the folder of the engine."""
    return Path(*name.split(".")).with_suffix(".py")


def _path(module: ModuleType) -> Path:
    return Path(str(module.__file__))


def _renamed(text: str, names: dict[str, str]) -> str:
    for new, old in names.items():
        text = text.replace(new, old)
    return text


def _statements(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text()).body


def _changes(before: list[ast.stmt], after: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module that have changed, as they are now."""
    if len(before) != len(after):
        raise NotIncremental("statements have come or gone")
    for old, new in zip(before, after, strict=True):
        if ast.dump(old) != ast.dump(new):
            if _bound(old) != _bound(new) or not _bound(new):
                raise NotIncremental("other names are bound")
            if isinstance(new, ast.ClassDef) or (isinstance(new, ast.Assign) and TYPES & _mentioned(new)):
                raise NotIncremental("a type has changed")  # numba goes on with the old one of that name
            yield new


def _kernels(nodes: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names and definitions of compiled functions."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == DECORATOR for d in node.decorator_list):
            yield node.name, node


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


@cache
def _mentioned(node: ast.stmt) -> Set[str]:
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}
    return names | {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
