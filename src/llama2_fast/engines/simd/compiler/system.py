"""The few functions of the system that compiled code calls, under names of our own."""

import ctypes
import sys

import llvmlite.binding as llvm


def add_symbols() -> None:
    """Let LLVM find them. Call it before any code is compiled or loaded."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    llvm.add_symbol("llama2_twins_yield", ctypes.cast(function, ctypes.c_void_p).value)
