"""JSON that others wrote: read strictly, so that nothing in it can be taken in two ways or cost more than its bytes."""

import json
import os
import reprlib
from collections import Counter
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import CheckpointError, ConfigError
from .files import open_regular

LONGEST = 100_000_000  # bytes of a file
Settings = dict[str, Any]

_LIMITED = reprlib.Repr()
_LIMITED.maxstring = _LIMITED.maxother = 60
_LIMITED.maxlevel = 2


def shown(value: Any) -> str:
    """A value of a file as an error may show it: one short line, whatever it holds."""
    return _LIMITED.repr(value)


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are. Raises ValueError, in one line, if they are none.

    UTF-8 without byte order mark. A key that comes twice, NaN, half of a surrogate pair in a key, and what is nested
    too deeply are refused: other programs would take them in other ways, or none.
    """
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_whole)
    except UnicodeDecodeError as error:
        raise ValueError(f"JSON must be UTF-8 (byte {error.start} is not)") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"JSON must be whole ({error.msg.lower()} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("JSON must not be nested that deeply") from None
    except ValueError as error:
        digits = "set_int_max_str_digits" in str(error)  # Python's message names a setting of its own
        raise ValueError("JSON must not hold numbers of thousands of digits" if digits else str(error)) from None
    if not isinstance(value, dict):
        raise ValueError(f"JSON must be an object (got {shown(value)})")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    by_key = dict(pairs)
    if len(by_key) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"keys must differ (got {shown(twice)} twice)")
    for key in by_key:
        if not is_text(key):
            raise ValueError(f"keys must be text (got {shown(key)})")
    return by_key


def _whole(text: str) -> int | float:
    """An integer; -0 is a float, as in other programs, for which sizes have no sign."""
    return -0.0 if text == "-0" else int(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"JSON knows no {name}")


def is_text(value: Any) -> TypeGuard[str]:
    """Is it a string that UTF-8 can hold? JSON's escapes can make halves of surrogate pairs."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_count(value: Any) -> TypeGuard[int]:
    """Is it a whole number of at least 0 and below 2^63, as sizes are? A bool does not count."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


# ------------------------------------------------------------------------------------------------------------- settings


def read_json(path: Path) -> Settings:
    """The JSON object that a file holds. Raises CheckpointError."""
    with open_regular(path, "a file of settings") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LONGEST:
            raise CheckpointError(f"must have at most {LONGEST} bytes (got {size})")
        data = file.read()
    try:
        return parse_object(data)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def get_size(settings: Settings, name: str, default: int | None = None) -> int:
    """A positive number; the default, if there is one, where it is missing or null. Raises ConfigError."""
    value = settings.get(name)
    if value is None and default is not None:
        return default
    if not is_count(value) or value == 0:
        raise ConfigError(f"{name} must be a positive whole number below 2^63 (got {shown(value)})")
    return value


def get_number(settings: Settings, name: str, default: float | None = None) -> float:
    """A number, as get_size."""
    value = settings.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ConfigError(f"{name} must be a number below 1e300 (got {shown(value)})")
    return float(value)


def get_flag(settings: Settings, name: str) -> bool:
    """True or false; false where it is missing or null. Raises ConfigError."""
    value = settings.get(name)
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false (got {shown(value)})")
    return bool(value)
