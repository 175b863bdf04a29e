"""Packages that only some models need."""

from importlib import import_module
from typing import Any

from ..errors import MissingExtraError


def import_extra(package: str, extra: str, what: str) -> Any:
    """A package that an extra brings. Raises MissingExtraError, which names what needs it, if it is not installed."""
    try:
        return import_module(package)
    except ImportError:
        needs = f"{what} needs the {package} package"
        raise MissingExtraError(f"{needs}: pip install 'llama2-twins[{extra}]'") from None
