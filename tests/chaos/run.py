"""The long set: `python tests/chaos/run.py [--faults a,b] [--minutes N] [--seed S]`, and `--table` to write down what came of it.

Each finished trial is a line of the file at once; trials that have one are not run again, so it can be stopped at any time.
"""

import argparse
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests")]

import psutil  # noqa: E402
from chaos_faults import Fault, Trial, faults  # noqa: E402

TRIALS, PAGE = ROOT / "benchmarks" / "chaos" / "trials.jsonl", ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- chaos:begin -->", "<!-- chaos:end -->"
BATCH = 20  # trials of one fault before the next fault has its turn
Line = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", default="", help="names, with commas between them; all without")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no trial after so many")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of each fault")
    parser.add_argument("--file", type=Path, default=TRIALS)
    parser.add_argument("--table", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}; run nothing")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # deployments are closed on the way out
    known = faults()
    chosen = [known[name] for name in given.faults.split(",") if name] or list(known.values())
    if given.table:
        write_table(list(known.values()), lines(given.file))
        return 0
    return run(chosen, given.file, given.minutes, given.seed)


def lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(chosen: list[Fault], path: Path, minutes: float, first: int) -> int:
    """In batches, fault after fault, so that little time shows something of everything. 1 when a promise was broken."""
    end, broken = time.monotonic() + minutes * 60, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"commit": commit(), "hardware": hardware()}
    done = {(line["fault"], line["seed"]) for line in lines(path)}
    left = {f.name: [s for s in range(first, first + f.long_trials) if (f.name, s) not in done] for f in chosen}
    while any(left.values()) and time.monotonic() < end:
        for fault in chosen:
            batch, left[fault.name] = left[fault.name][:BATCH], left[fault.name][BATCH:]
            for trial in trials(fault, batch, end):
                with path.open("a") as file:
                    file.write(json.dumps({**asdict(trial), **where, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}) + "\n")
                broken += bool(trial.violations)
                print(
                    f"{fault.name} {trial.seed}: {'; '.join(trial.violations) or 'ok'} {trial.recovery_seconds} {trial.facts}", flush=True
                )
    print(f"{broken} trials with broken promises, {sum(map(len, left.values()))} trials left")
    return int(broken > 0)


def trials(fault: Fault, seeds: list[int], end: float) -> Iterator[Trial]:
    if not seeds or time.monotonic() > end:
        return
    folder = Path(tempfile.mkdtemp(prefix="potstill-chaos-"))
    try:
        with closing(fault.run(folder, seeds)) as found:  # type: ignore[type-var]
            for trial in found:
                yield trial
                if time.monotonic() > end:
                    return
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def hardware() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def write_table(known: list[Fault], found: list[Line]) -> None:
    text = PAGE.read_text() if PAGE.exists() else f"# Reliability\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(f"{before}{BEGIN}\n{table(known, found)}\n{END}{after}")


def table(known: list[Fault], found: list[Line]) -> str:
    of: dict[str, list[Line]] = defaultdict(list)
    for line in found:
        of[line["fault"]].append(line)
    rows = ["| fault | what is done | trials | with violations | recovery, median / p99 |", "| --- | --- | ---: | ---: | ---: |"]
    for fault in known:
        mine = of[fault.name]
        seconds = sorted(second for line in mine for second in line["recovery_seconds"])
        recovery = f"{statistics.median(seconds):.1f} s / {p99(seconds):.1f} s" if seconds else "–"
        violations = sum(bool(line["violations"]) for line in mine)
        rows.append(f"| `{fault.name}` | {fault.words} | {len(mine):,} | {violations:,} | {recovery} |")
    ran_on = sorted({f"{line['hardware']}, commit {line['commit']}" for line in found})
    return "\n".join([*rows, "", *(f"Run on: {place}." for place in ran_on)])


def p99(seconds: list[float]) -> float:
    return seconds[min(len(seconds) - 1, math.ceil(0.99 * len(seconds)) - 1)]


if __name__ == "__main__":
    sys.exit(main())
