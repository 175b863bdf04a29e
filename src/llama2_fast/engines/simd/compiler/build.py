"""Compile the kernels to an object file. This module, and those that it compiles, are the only ones to import numba."""

from typing import Any

import llvmlite.binding as llvm
from numba import types

from ..kernels import entries
from ..tables import ENTRIES
from .jit import link
from .target import processor


def compile_module() -> tuple[str, dict[str, str]]:
    """LLVM's text of all entries, and the symbol of each."""
    symbols, libraries = {}, []
    for name, count in ENTRIES.items():
        function = getattr(entries, name)
        signature = (types.int64,) * count
        function.compile(signature)
        compiled = function.overloads[signature]
        symbols[name] = compiled.fndesc.llvm_func_name
        libraries.append(compiled.library)
    whole = link(libraries)
    for function in whole.functions:
        if not function.is_declaration and function.name not in symbols.values():
            function.linkage = "internal"
    whole.verify()
    return str(whole), symbols


def emit(text: str, triple: str, name: str, features: str, assembly: bool = False) -> Any:
    """Optimized machine code, or assembly, of a module for a processor."""
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )
    module = llvm.parse_assembly(text)
    module.triple = triple
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.slp_vectorization = False
    options.loop_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module) if assembly else machine.emit_object(module)


def compile_object() -> tuple[bytes, dict[str, str]]:
    """Machine code for this processor, as an object file, and the symbol of each entry."""
    text, symbols = compile_module()
    return emit(text, llvm.get_process_triple(), *processor()), symbols
