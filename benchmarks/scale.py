"""`python -m benchmarks.scale`: docs/scale.md. What a deployment of many cards asks of its database, its store and its API, as the measured
cost of each thing it does (benchmarks.costs) times how often it does it; which part is short first, and what a day with a rush looks like.
"""

import json
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import DATA
from benchmarks.results.words import table, wrapped

PAGE = Path(__file__).parents[1] / "docs/scale.md"
SIZES = 10, 100, 1_000, 10_000  # cards, one slot each
JOBS_PER_CARD = 1_000  # a day: 1,000 cards do a million
BUSY = 0.9  # of the time
DAY = 86_400.0
FLUSHES, POINTS = 4.0, 1_500.0  # a run's writes a second at most, and in all: worker/sink.py, distill/curves.py
RENEW, SWEEP, POLL, RING, CHECKPOINT, CLEAN = 5.0, 2.0, 1.0, 10.0, 300.0, 3600.0  # seconds: the settings as they come
WATCHED = 5.0  # seconds between two looks of a script at its running job
FILES = 8  # stored for a job, two requests each: is it there, here it is
KEPT = 30  # days
NAME = 160  # bytes of a name in memory
PAGE_OF_LISTING = 1_000  # names in one answer of a store
# What one machine gives; a share of it is left for what comes unasked.
CORES, SHARE, CONNECTIONS, API_CORES = 32, 0.6, 100, 1.0
OF_API = 50  # connections of an API process at most: `api/services.py` and `models/session.py`
WRITES = 3_500  # a second that S3 promises below one prefix
Record = dict[str, Any]


def happens(cards: int) -> dict[str, float]:
    """How often a second each thing is done."""
    jobs = cards * JOBS_PER_CARD / DAY
    seconds = cards * BUSY / jobs  # that a job runs
    return {
        "submit": jobs,
        "claim": jobs,
        "write a step's metrics": cards * BUSY * min(FLUSHES, POINTS / seconds),
        "checkpoint": jobs * (1 + seconds // CHECKPOINT),
        "finish": jobs,
        "beat": cards / RENEW,
        "sweep": cards / SWEEP,
        "look for work, none there": cards * (1 - BUSY) / POLL,
    }


def needs(cards: int, costs: Record) -> dict[str, float]:
    """What a deployment of that size uses of each part."""
    often = happens(cards)
    cost = {row["what"]: row for row in costs["rows"]}
    poll = next(row for row in _read("at-scale")["rows"] if row["what"] == "GET /v1/jobs/{id}")["million"]["cpu"] / 1000
    post = next(row for row in _read("at-scale")["rows"] if row["what"] == "POST /v1/jobs")["million"]["cpu"] / 1000
    objects = cards * JOBS_PER_CARD * KEPT * FILES
    asked = cards * BUSY / WATCHED * poll + often["submit"] * post
    return {
        "connections": float(cards * costs["connections"]["worker"] + max(1, ceil(asked)) * OF_API),
        "cores": sum(rate * cost[what]["server_ms"] for what, rate in often.items()) / 1000,
        "log": sum(rate * cost[what]["log_bytes"] for what, rate in often.items()) / 1e6,
        "commits": sum(rate for what, rate in often.items() if not what.startswith("look")),
        "api": asked,
        "store": often["submit"] * FILES * 2,
        "listing": objects / PAGE_OF_LISTING / CLEAN,
        "listing by all": objects / PAGE_OF_LISTING / CLEAN * cards,
        "rings": cards / RING + often["submit"],
        "claims": often["claim"],
    }


def day(cards: int, rate: float) -> dict[str, float]:
    """Minute by minute: submissions follow the working hours, four times as many at their height as at night. rate: claims a second."""
    minutes = np.arange(24 * 60)
    wave = np.maximum(0.4, 1 + 0.6 * np.sin((minutes / 60 - 8) / 12 * np.pi))
    come = wave / wave.mean() * cards * JOBS_PER_CARD / len(minutes)
    done = cards * JOBS_PER_CARD / BUSY / len(minutes)  # in a minute, when no card rests
    waiting, longest = 0.0, 0.0
    for _ in range(2):  # the second day begins as the first one left it
        for new in come:
            waiting = max(0.0, waiting + new - done)
            longest = max(longest, waiting)
    return {"most waiting": longest, "longest wait": longest / done, "height": float(come.max() / 60), "at once": cards / rate}


def limits(costs: Record) -> list[tuple[str, str, float, str]]:
    """Each part, its unit, what one of it gives, and what comes next where that is not enough."""
    rate = float(min(row["rate"] for row in _read("claims")["rows"]))
    return [
        ("connections", "connections to Postgres", CONNECTIONS, POOLER),
        ("cores", f"cores of Postgres, of {CORES}", CORES * SHARE, WRITING),
        ("commits", "commits a second", 5_000, DISK),
        ("log", "MB of its log a second", 200, DISK),
        ("claims", "claims a second", rate * SHARE, CLAIMS),
        ("api", "cores of API processes, one each", API_CORES, APIS),
        ("store", "requests to the store a second", WRITES * SHARE, PREFIXES),
        ("listing", "requests a second to list the store", WRITES * SHARE, LISTING),
        ("listing by all", "… if every worker did, as before", WRITES * SHARE, LISTING),
        ("rings", "messages of Redis a second", 50_000, "nothing"),
    ]


def text() -> str:
    costs = _read("costs")
    rate = float(min(row["rate"] for row in _read("claims")["rows"]))
    sizes = {cards: needs(cards, costs) for cards in SIZES}
    per_card = needs(1_000, costs)
    lines, ends = [], []
    for name, unit, most, remedy in limits(costs):
        lines.append([unit, *(_short(sizes[cards][name]) for cards in SIZES), f"{most:,.0f}"])
        growth = 2 if name == "listing by all" else 1
        cards = 1_000 * (most / per_card[name]) ** (1 / growth)
        ends.append((cards, unit, remedy))
    first = [[f"{_round(cards):,}", unit, remedy] for cards, unit, remedy in sorted(ends)]
    behind = costs["passed_over"]
    slope = (behind[-1]["server_ms"] - behind[0]["server_ms"]) / behind[-1]["unfit"]
    rush, looks, files = day(1_000, rate), 1_000 * (1 - BUSY) / POLL, 1_000 * JOBS_PER_CARD * KEPT * FILES
    spent = [
        [
            row["what"],
            row["server_ms"],
            row["client_ms"],
            f"{row['questions']:.0f}",
            f"{row['log_bytes']:,.0f}",
            _short(happens(1_000)[row["what"]]),
        ]
        for row in costs["rows"]
    ]
    machine = costs["machine"]
    measured = f"`{costs['command']}`, {machine['date']}, {machine['cores']} cores of an {machine['cpu']} that others used as well"
    return (
        wrapped(
            PAGE_TEXT.strip().format(
                measured=measured,
                spent=table(
                    ["", "Postgres, ms of a core", "who asks, ms", "questions", "bytes of log", "a second with 1,000 cards"], spent
                ),
                sizes=table(["", *(f"{cards:,} cards" for cards in SIZES), "one gives"], lines),
                first=table(["from so many cards on", "is short", "what comes next"], first),
                worker=costs["connections"]["worker"],
                api=OF_API,
                waiting=_short(rush["most waiting"]),
                wait=f"{rush['longest wait']:.0f}",
                height=f"{rush['height']:.0f}",
                rate=f"{rate:.0f}",
                at_once=f"{rush['at once']:.0f}",
                unfit=f"{behind[-1]['unfit']:,}",
                behind=f"{behind[-1]['server_ms']:.1f}",
                alone=f"{behind[0]['server_ms']:.1f}",
                slope=f"{1000 * slope:.1f}",
                looks=_short(looks),
                busy=_short(looks * behind[-1]["server_ms"] / 1000),
                files=f"{files / 1e6:,.0f}",
                requests=f"{files / PAGE_OF_LISTING:,.0f}",
                names=f"{files * NAME / 1e9:,.0f}",
            )
        )
        + "\n"
    )


def _read(name: str) -> Record:
    found: Record = json.loads((DATA / f"{name}.json").read_text())
    return found


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _round(value: float) -> int:
    """To two digits: it is an estimate."""
    digits = max(0, len(str(int(value))) - 2)
    return int(round(value, -digits))


POOLER = "`max_connections` up to some hundreds; beyond that PgBouncer (1.21 or newer, for prepared statements), which was not tried"
WRITING = "write metrics each second instead of four times; then a database for the points apart from that for the jobs"
DISK = "a disk that acknowledges faster, `commit_delay`; then the same as for cores"
CLAIMS = "several jobs in one claim; then a queue for each kind of worker"
APIS = "more API processes behind the proxy; they share nothing"
PREFIXES = "S3 divides prefixes by itself as they get busy: names begin with two hexadecimal digits"
LISTING = "one worker lists for all, as it does now; a bucket's own inventory after that"
PAGE_TEXT = """
# How far it scales

How large a deployment one Postgres, one Redis and one bucket carry, what is short first, and what to do then. The figures are
measured costs times how often things happen, **not a deployment of that size**: nobody here has a thousand cards. `python -m
benchmarks.scale` writes this page from `benchmarks/data`; its assumptions are the constants at its top.

## A size for you

Up to 15 cards: everything on one machine as it comes. Each worker holds up to {worker} connections, an API process up to {api} while many
ask at once, and Postgres takes 100. Up to some hundreds of cards: Postgres on a machine of its own with `max_connections` at five times the
workers and 100 besides, and four cores or more, a bucket, two API processes behind a proxy. Beyond that, the table below says what is
short.

## What each thing costs

{measured}; processor time, so the load beside it counts little but not nothing.

{spent}

## What a deployment uses

Each card runs a thousand jobs a day, 78 s each, and is busy for nine tenths of the time: 1,000 cards do a million jobs. Every
running job is looked at by a script every 5 s, each stores 8 files, and 30 days are kept.
What one machine gives is assumed, not measured, but for the claims: 32 cores of which 60 % are used, 5,000 commits a second,
what S3 promises.

{sizes}

## What is short first

{first}

Far beyond all others come the metrics: a run of a minute or two writes its curve four times a second, so that somebody can watch
it. Nobody watches a million jobs a day; a slower beat (`FLUSH_SECONDS` in `worker/sink.py`) is the first thing to change, and
makes the database several times larger. Runs of hours write as many points in all and are no trouble.

## A day with working hours

With 1,000 cards and four times as many submissions at the height of the day as at night, {height} jobs a second come at the
height, up to {waiting} wait, and the last of them for {wait} minutes. Claims are no part of that: when all 1,000 cards become
free at once, after an outage say, they have jobs again within {at_once} s at the {rate} claims a second that [were
measured](benchmarks.md#taking-jobs) with claimers and server on two cores.

## Known weaknesses, judged

**Jobs that no free worker may take are passed over one by one.** A claim behind {unfit} of them takes Postgres {behind} ms
instead of {alone}, {slope} ms for each thousand. It costs that for each look of each idle worker as well, {looks} a second here:
ten thousand jobs that wait for a card nobody has would keep {busy} cores busy. Start a worker that can take them, or cancel them;
`POTSTILL_QUOTA_QUEUED_JOBS` bounds how many of a project wait.

**Every hour the whole store is listed**, and its names are compared with those of the database in memory. One worker does it for
all, the one that has been there longest. That is good for some ten million files. Thirty days of a million jobs a day are {files}
million: {requests} requests each hour, and names of about {names} GB in one worker's memory. Keep less, or build this anew
before: from the bucket's own inventory, and piece by piece.

**Every worker sweeps every two seconds**, whoever else does. It is cheap, and most of what idle deployments do;
`POTSTILL_SWEEP_SECONDS=10` costs eight seconds when a host dies.
"""

if __name__ == "__main__":
    PAGE.write_text(text())
    print(f"written: {PAGE.name}")
