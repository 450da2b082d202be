"""Figures of the service: kept as JSON beside the code, with the machine they are of."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

DATA = Path(__file__).parent / "data"
PACKAGES = ("potstill", "torch", "sqlalchemy", "psycopg", "uvicorn", "fastapi")


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: the median and what 99 of 100 stay below."""
    p99 = quantiles(seconds, n=100, method="inclusive")[98]
    return {"n": len(seconds), "p50": round(1000 * median(seconds), 2), "p99": round(1000 * p99, 2)}


def write(name: str, command: str, **found: Any) -> None:
    DATA.mkdir(exist_ok=True)
    whole = {"command": command, **found, "machine": _machine()}
    (DATA / f"{name}.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "date": datetime.now(UTC).date().isoformat(),
    }
