"""Compiled kernels for tests of what is around them: compiling them anew takes ten seconds."""

import shutil
from importlib.util import find_spec
from pathlib import Path


def put_code(folder: Path) -> Path | None:
    """Put the kernels into a folder that becomes $LLAMA2_CACHE: where they are. None where numba is not installed."""
    if find_spec("numba") is None:
        return None
    from llama2_fast.engines.simd.compiler import library

    library.library()  # which compiles them if nobody has
    name = f"kernels-{library._digest()}.o"
    kept = next((place / name for place in library._folders() if (place / name).is_file()), None)
    if kept is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(kept, folder)
    return folder / name


# For the beginning of a script: the library takes the code in sys.argv[1], after a second, instead of compiling it.
# numba is imported, as it would be: that tells that something was "compiled".
READY = """
import sys, time
from pathlib import Path
import llama2_fast.engines.simd.compiler.library as library
def ready():
    import numba
    time.sleep(1)
    return library._read(Path(sys.argv[1]))
library._compile = ready
"""
