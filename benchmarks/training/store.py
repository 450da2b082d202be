"""What was measured, as JSON: every round with all its figures, and what they depend on."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distill.device import processor

DATA = Path(__file__).parents[1] / "data"


def read(task: str) -> dict[str, Any] | None:
    path = DATA / f"training-{task}.json"
    return json.loads(path.read_text()) if path.exists() else None


def rounds(task: str) -> list[dict[str, Any]]:
    found = read(task)
    return found["rounds"] if found else []


def write(task: str, found: dict[str, Any]) -> None:
    DATA.mkdir(exist_ok=True)
    machine = {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": version("torch"),
        "date": datetime.now(UTC).date().isoformat(),
    }
    (DATA / f"training-{task}.json").write_text(json.dumps({**found, "machine": machine}, indent=1) + "\n")
