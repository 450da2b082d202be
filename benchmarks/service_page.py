"""`python -m benchmarks.service_page`: docs/benchmarks.md, written from what the other commands left in benchmarks/data."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import DATA
from benchmarks.results.words import table, wrapped

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
Record = dict[str, Any]
# Which requests have a bound in milliseconds, p99, with 1,000,000 jobs stored.
BOUNDS = {"GET /v1/jobs": 30, "GET /v1/jobs?limit=100": 30, "page /": 30, "page of a job with 1,000,000 points": 200}
RATE = 500  # claims a second
DEVICES = 1.6  # two processes against one
SHARE = 0.9  # of the speed of the object store's own client
LATE, HEAVY = 1000, 300  # milliseconds of delay, MiB of the API process


def text() -> str:
    records = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
    sections = [make(records[name]) for name, make in SECTIONS.items() if name in records]
    return wrapped("\n\n".join([HEAD.strip(), *sections, TAIL.strip()])) + "\n"


def _measured(record: Record) -> str:
    machine = dict(record["machine"])
    cpu, cores, date = (machine.pop(name) for name in ("cpu", "cores", "date"))
    versions = ", ".join(f"{name} {version}" for name, version in machine.items())
    return f"`{record['command']}`, {date}, {cores} cores of an {cpu}, {versions}."


def _reached(value: float, bound: float | None, least: bool = False) -> str:
    if bound is None:
        return ""
    return f"{'≥' if least else '≤'} {bound:g}, {'reached' if (value >= bound if least else value <= bound) else '**not reached**'}"


def _range(ratio: dict[str, float], digits: int) -> str:
    return f"{ratio['median']:.{digits}f} ({ratio['low']:.{digits}f} to {ratio['high']:.{digits}f})"


def _at_scale(record: Record) -> str:
    lines = []
    for row in record["rows"]:
        few, many = row["thousand"], row["million"]
        times = [f"{side['p50']:.1f} / {side['p99']:.1f}" for side in (few, many)]
        lines.append([f"`{row['what']}`", *times, _range(row["ratio"], 2), _reached(many["p99"], BOUNDS.get(row["what"]))])
    heads = ["request", "1,000 jobs: p50 / p99, ms", "1,000,000 jobs: p50 / p99, ms", "ratio of medians, by round", "p99 to reach, ms"]
    return f"## Requests with 1,000 and with 1,000,000 jobs stored\n\n{_measured(record)}\n\n{JOBS.strip()}\n\n{table(heads, lines)}"


def _listeners(record: Record) -> str:
    lines = []
    for row in record["rows"]:
        if "p50" in row:
            late, memory = _reached(row["max"], LATE), _reached(row["rss_mib"], HEAVY)
            figures = [f"{row[name]:.0f}" for name in ("p50", "p99", "max")]
            lines.append([row["what"], *figures, late, row["missed"], f"{row['rss_mib']}", memory, f"{row['transactions']:.0f}"])
    heads = ["", "p50, ms", "p99, ms", "last, ms", "to reach", "events missed", "API process, MiB", "to reach", "transactions/s"]
    said = f"Events of {record['bytes']:,} bytes, one each {record['pause']} s; from the commit of each to its arrival at every listener."
    return f"## Event streams on one API process\n\n{_measured(record)} {said}\n\n{table(heads, lines)}"


def _commands(record: Record) -> str:
    lines = [
        [f"`{row['what']}`", f"{row['median']:.0f} ({row['low']:.0f} to {row['high']:.0f})", _reached(row["median"], row["target"])]
        for row in record["rows"]
    ]
    said = f"Median and quartiles of {record['runs']} starts: to the end of a command that asks nobody, else to its first connection."
    return f"## The command line\n\n{_measured(record)} {said}\n\n{table(['command', 'ms', 'to reach'], lines)}"


def _beside(record: Record) -> str:
    lines = []
    for row in record["rows"]:
        sides = [f"{row[side]['p50']:.1f} / {row[side]['p99']:.1f}" for side in ("ours", "theirs")]
        lines.append([row["what"], *sides, _range(row["ratio"], 1), _reached(row["ratio"]["median"], row["target"], least=True)])
    heads = ["", "Potstill: p50 / p99, ms", "MLflow: p50 / p99, ms", "MLflow's ÷ ours, by round", "to reach"]
    said = f"MLflow {record['mlflow']}." if "mlflow" in record else ""
    return f"## Beside MLflow's tracking server\n\n{_measured(record)} {said} {MLFLOW.strip()}\n\n{table(heads, lines)}"


def _claims(record: Record) -> str:
    few, many = record["rows"]
    lines = [
        [f"{row['jobs']:,}", f"{row['rate']:,} ({min(row['rates']):,} to {max(row['rates']):,})", _reached(row["rate"], RATE, least=True)]
        + [f"{row[name]['p50']:.1f} / {row[name]['p99']:.1f}" for name in ("claim", "look")]
        for row in (few, many)
    ]
    said = f"{record['claimers']} claimers in 4 processes on the same machine as the server, {record['waiting']:,} jobs waiting, of five "
    said += "projects that take turns. Claimers and the server share the cores, and most of the work is the claimers': what several hosts "
    said += "reach was not measured. A look is a worker's for leases that ran out, every two seconds."
    heads = ["jobs stored", "claims/s, by round", "to reach", "a claim: p50 / p99, ms", "a look: p50 / p99, ms"]
    return f"## Taking jobs\n\n{_measured(record)} {said}\n\n{table(heads, lines)}"


def _devices(record: Record) -> str:
    lines = []
    for row in record["rows"]:
        ratio = median(row["against_one"])
        target = [_reached(ratio, DEVICES, least=True)] if row["way"] == "2 × 1" else ["–"]
        spread = f"{ratio:.2f} ({min(row['against_one']):.2f} to {max(row['against_one']):.2f})"
        lines.append([row["way"], f"{row['rate']:.2f}", spread, *target, f"{row['loss']:.4f}"])
    spec = record["spec"]
    student, training = spec["student"], spec["training"]
    said = f"A BERT of {student['layers']} × {student['hidden']}, texts of at most {spec['data']['max_length']} tokens, "
    said += f"{training['batch_size']} a step, one epoch of the same steps; dropout draws otherwise on two."
    heads = ["processes × threads", "steps/s", "times 1 × 1, by round", "to reach", "last loss"]
    return f"## One job on several devices\n\n{_measured(record)} {said}\n\n{table(heads, lines)}"


def _objects(record: Record) -> str:
    lines = []
    for row in record["rows"]:
        for what in ("up", "down"):
            found = row[what]
            spread = f"{found['ratio']:.2f} ({found['ratios'][0]:.2f} to {found['ratios'][-1]:.2f})"
            sides = [f"{found[who]:.0f} / {found[f'{who}_cpu_ms']:.1f}" for who in ("ours", "theirs")]
            lines.append([f"{row['mib']} MiB {what}", row["rounds"], *sides, spread, _reached(found["ratio"], SHARE, least=True)])
    heads = ["", "rounds", "Potstill: MiB/s / ms of a core for each MiB", "boto3: the same", "our speed ÷ its, by round", "to reach"]
    return f"## Files in an object store\n\n{_measured(record)} {OBJECTS.strip()}\n\n{table(heads, lines)}"


SECTIONS = {
    "at-scale": _at_scale,
    "claims": _claims,
    "listeners": _listeners,
    "commands": _commands,
    "beside-mlflow": _beside,
    "devices": _devices,
    "objects": _objects,
}
HEAD = """
# Benchmarks of the service

Every figure here is written by the command above its table, which brings its own Postgres (18, from a wheel, settings as they come) and
starts real API processes, asked from another process over a connection that stays open. What is not reached stays in the tables. What
[training costs beside other tools](benchmarks-training.md) has a page of its own; what a step or a request costs in operations and queries
is counted in `tests/`.
"""
JOBS = """
Stored jobs are as people leave them: teachers, students with parents and runs, trials of sweeps, evaluations, in five projects, with
reports of 1 and 8 kB that real jobs left, metadata, dependencies and four events each. Both sizes lie on one server and are asked in
turn, in three rounds. A search for a part of a name reads the whole list: an index of trigrams is an extension of Postgres that not every
server may have.
"""
MLFLOW = """
Each on a database of its own in one Postgres, in turn; MLflow's server as it comes. It is asked over a new connection each time, which is
better for it: on one that stays open its answers leave in two packets, the second of which waits 40 ms for the acknowledgement of the
first.
"""
OBJECTS = """
A blob stored and fetched, with the SHA-256 that it is named and checked by, beside `upload_file` and `download_file` of boto3, which check
none, in turn over the loopback. The server is moto's: a program in Python, which is slower than either and most of the time on the clock.
"""
TAIL = """
## Why curves of any length cost the same

A curve of 20,000 points, thinned to 500, was made of all 20,000 rows, read into Python. Beside the points there are stretches of 16, 256,
4,096 and 65,536 steps, each with its lowest and highest point, made anew in the transaction that writes the points (`models/points.py`).
A reader takes the widest of which there are enough: at most 16 rows for each stretch that is shown, in four queries for all curves of a
job. `tests/models/test_store_points.py` counts both.

## Ways to the database

A reader on Postgres asks its question and nothing else: no `BEGIN`, no `COMMIT`. A connection is asked whether it still stands when it
rested for a second or the server said something unasked. Metric points go in as one statement with three arrays instead of one with 3,500
parameters for 500 points, a thousand events in a transaction instead of 500. Streams at the same place share a look at the database for
each round with news (`test_many_streams_share_one_look` counts them); those of many different jobs each look by themselves.
"""

if __name__ == "__main__":
    PAGE.write_text(text())
