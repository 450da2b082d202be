"""`python -m benchmarks.commands`: how long the command line takes, from its start to its end, or to its first connection.

For what asks the service this process is the service: it takes the connection, looks at the clock and hangs up.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import figures
from benchmarks.rows import TRAIN
from benchmarks.stored import KEY

RUNS = 25
TARGETS = {"--help": 150}  # milliseconds
OTHER = 300
JOB = "job_0198f2c4a1b27e3c9d4e5f60718293a4"
ALONE = ["--help", "--version", "jobs --help", "schema"]
ASKING = [
    "jobs", f"show {JOB}", f"watch {JOB}", f"logs {JOB}", f"metrics {JOB}", f"compare {JOB} {JOB}", f"cancel {JOB}", f"pull {JOB}",
    "submit spec.yaml", "validate spec.yaml", "recipes", "losses",
    "datasets ls", "models ls", "sweeps ls", "keys ls", "webhooks ls", "audit",
]  # fmt: skip


def seconds(command: str, folder: Path) -> float:
    """To the end of a command that needs nobody, else to its first connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        given = {**os.environ, "POTSTILL_URL": f"http://127.0.0.1:{server.getsockname()[1]}", "POTSTILL_KEY": KEY, "HOME": str(folder)}
        started = time.perf_counter()
        program = [Path(sys.executable).with_name("potstill"), *command.split()]
        process = subprocess.Popen(program, env=given, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if command in ALONE:
                if process.wait(30):
                    raise RuntimeError(command)
            else:
                server.accept()[0].close()
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(str(TRAIN))  # a mapping of Python's is one of YAML's
        times: dict[str, list[float]] = {command: [] for command in [*ALONE, *ASKING]}
        for _ in range(RUNS + 1):
            for command, found in times.items():
                found.append(1000 * seconds(command, folder))
    rows: list[dict[str, Any]] = []
    for command, found in times.items():
        low, _, high = quantiles(found[1:], n=4)  # the first one fills the disk's cache
        what = f"potstill {command.replace(JOB, 'ID')}"
        rows.append({"what": what, "median": median(found[1:]), "low": low, "high": high, "target": TARGETS.get(command, OTHER)})
        print(f"{what:30} {rows[-1]['median']:.0f} ms ({low:.0f} to {high:.0f})", flush=True)
    figures.write("commands", "python -m benchmarks.commands", runs=RUNS, rows=rows)


if __name__ == "__main__":
    main()
