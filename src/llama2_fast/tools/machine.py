"""What reports say of the machine."""

import platform
import re
from pathlib import Path
from typing import Any

from ..engines.threads import available_cores


def describe_machine() -> dict[str, Any]:
    """System, processor, and how many cores this process may use."""
    return {"system": platform.platform(), "processor": _processor(), "cores": available_cores()}


def _processor() -> str:
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
