"""What is kept of each job: one small JSON file in `data/`, enough to write the page without running anything again."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from worker.settings import Settings

DATA = Path(__file__).parent / "data"
SLOTS = 2

Record = dict[str, Any]  # JSON, with the report as the service gave it


def read(name: str) -> Record | None:
    """None when this job has not been run yet."""
    path = DATA / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def write(name: str, record: Record) -> None:
    DATA.mkdir(exist_ok=True)
    whole = {**_without_rows(record), "machine": machine()}
    temporary = DATA / f".{name}"
    temporary.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(DATA / f"{name}.json")


def machine() -> Record:
    """What a figure depends on. Threads count: they change the order of sums."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "slots": SLOTS,
        "threads": Settings(slots=SLOTS).threads(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "potstill": version("potstill"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _without_rows(value: Any) -> Any:
    """Which rows each run got right is thousands of bits nobody reads here."""
    if isinstance(value, dict):
        return {key: _without_rows(inner) for key, inner in value.items() if key != "rows_right"}
    return [_without_rows(inner) for inner in value] if isinstance(value, list) else value
