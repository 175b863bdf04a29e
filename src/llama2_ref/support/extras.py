"""Packages that only some models need."""

from importlib import import_module
from typing import Any

from ..errors import MissingExtraError

INSTALL = "pip install 'llama2-twins[models]'"  # one extra for all that models need: its parts alone rarely do


def import_extra(package: str, what: str) -> Any:
    """A package of the extra `models`. Raises MissingExtraError, which names what needs it, if it is not installed."""
    try:
        return import_module(package)
    except ImportError:
        needs = f"{what} needs the {package} package"
        raise MissingExtraError(f"{needs}: {INSTALL}") from None
