"""Let a module be another text than its file: for the process that asks, and for those that it starts."""

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

VARIABLE = "LLAMA2_MUTANT"  # the path of a file that says which module, and what its text is


class Planted(MetaPathFinder, SourceFileLoader):  # type: ignore[misc] # their source_to_code differ
    """Finds and loads one module: what it says is compiled as if it were in the module's own file."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        folder = [str(Path(self.path).parent)] if Path(self.path).name == "__init__.py" else None
        return spec_from_file_location(fullname, self.path, loader=self, submodule_search_locations=folder)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.path, "exec", dont_inherit=True)


def plant(folder: Path, name: str, path: Path, text: str) -> None:
    """Plant a text here, and in processes that are started with this one's environment.

    `folder` is made, and holds what they read.
    """
    folder.mkdir()
    facts = {"name": name, "path": str(path), "text": text}
    (folder / "mutant.json").write_text(json.dumps(facts))
    (folder / "sitecustomize.py").write_text(
        "from meta.plant import plant_from_environment\nplant_from_environment()\n"
    )
    os.environ[VARIABLE] = str(folder / "mutant.json")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    sys.meta_path.insert(0, Planted(**facts))


def plant_from_environment() -> None:
    """Do what `plant` of a process around this one has prepared."""
    if VARIABLE in os.environ:
        sys.meta_path.insert(0, Planted(**json.loads(Path(os.environ[VARIABLE]).read_text())))
