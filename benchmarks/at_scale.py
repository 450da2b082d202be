"""`python -m benchmarks.at_scale`: what requests cost on Postgres with 1,000 and with 1,000,000 jobs stored.

Both databases lie on one server, each with an API process of its own, and are asked in turn by this process, over connections that
stay open. --data keeps the filled server for the next time; filling it takes minutes.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import sqlalchemy as sa

from benchmarks import figures, rows, stored
from benchmarks.stored import Api
from models.session import Database

SIZES = {"thousand": 1_000, "million": 1_000_000}
POINTS = {"points": (4, 250_000), "history": (1, 20_000)}  # jobs with curves: metrics, and points of each
ROUNDS, EACH = 3, 120  # rounds, and requests of a kind in each
PATIENCE = 15.0  # seconds for a kind in one round


class Kind(NamedTuple):
    """Requests of one kind: the same path, or one after another."""

    paths: Iterator[str]
    page: bool = False
    body: bytes | None = None


class Side:
    """One database, its API, and some of its rows."""

    def __init__(self, url: str, home: Path) -> None:
        self.api, self.browser = Api(url, home), rows.cookie(url)
        store = Database(url)
        with store.read() as session:
            mine = "FROM jobs WHERE project_id = (SELECT id FROM projects WHERE name = 'default') AND"
            self.ids = list(
                session.scalars(sa.text(f"SELECT id {mine} parent_id IS NULL AND status = 'succeeded' ORDER BY md5(id) LIMIT 200"))
            )
            self.deep = session.scalar(sa.text(f"SELECT id {mine} name = 'digits-train-1' ORDER BY id LIMIT 1"))
            self.points, self.history = (session.scalar(sa.text(f"SELECT id {mine} name = '{name}'")) for name in POINTS)
        store.dispose()

    def kinds(self) -> dict[str, Kind]:
        def same(path: str, page: bool = False) -> Kind:
            return Kind(itertools.repeat(path), page)

        ids, pages = itertools.cycle(self.ids), itertools.cycle(self.ids)
        return {
            "GET /v1/jobs/{id}": Kind(f"/v1/jobs/{id_}" for id_ in ids),
            "GET /v1/jobs": same("/v1/jobs"),
            "GET /v1/jobs?limit=100": same("/v1/jobs?limit=100"),
            "GET /v1/jobs, far down": same(f"/v1/jobs?after={self.deep}"),
            "GET /v1/jobs?status=running": same("/v1/jobs?status=running"),
            "GET /v1/jobs?status=queued&status=failed": same("/v1/jobs?status=queued&status=failed"),
            "GET /v1/jobs?kind=evaluate": same("/v1/jobs?kind=evaluate"),
            "GET /v1/jobs?name=, one of 997 names": same("/v1/jobs?name=digits-train-5"),
            "GET /v1/jobs?name=, none has it": same("/v1/jobs?name=nobody"),
            "GET /v1/jobs?metadata[k]=, a seventh": same("/v1/jobs?metadata[team]=team%203"),
            "GET /v1/jobs?metadata[k]=, one job": same("/v1/jobs?metadata[ticket]=T-80"),
            "page /": same("/", True),
            "page /, far down": same(f"/?after={self.deep}", True),
            "page /?status=failed": same("/?status=failed", True),
            "page /?name=, part of a name": same("/?name=evaluate-99", True),
            "page /?name=, none has it": same("/?name=nobody", True),
            "page of a job": Kind((f"/jobs/{id_}" for id_ in pages), True),
            "page of a job with 1,000,000 points": same(f"/jobs/{self.points}", True),
            "metrics of it, max_points=500": same(f"/v1/jobs/{self.points}/metrics?max_points=500"),
            "20,000 points, max_points=500": same(f"/v1/jobs/{self.history}/metrics?max_points=500"),
            "20,000 points, raw": same(f"/v1/jobs/{self.history}/metrics"),
            "POST /v1/jobs": Kind(itertools.repeat("/v1/jobs"), body=json.dumps(rows.TRAIN).encode()),
        }

    def some(self, kind: Kind, times: list[float]) -> float:
        """Adds the seconds of some requests; returns what the API's processor spent on each."""
        headers = self.browser if kind.page else self.api.headers
        before, asked, first = sum(self.api.ps.cpu_times()[:2]), 0, len(times)
        for path in itertools.islice(kind.paths, EACH):
            times.append(self.api.ask("POST" if kind.body else "GET", path, kind.body, headers)[0])
            asked += 1
            if sum(times[first:]) > PATIENCE:
                break
        return (sum(self.api.ps.cpu_times()[:2]) - before) / asked


def measure(sides: dict[str, Side], only: str) -> list[dict[str, object]]:
    found = []
    kinds = {name: side.kinds() for name, side in sides.items()}
    for what in next(iter(kinds.values())):
        if only not in what:
            continue
        times: dict[str, list[float]] = {name: [] for name in sides}
        spent: dict[str, list[float]] = {name: [] for name in sides}
        medians: dict[str, list[float]] = {name: [] for name in sides}
        for name in list(sides) * ROUNDS:
            first = len(times[name])
            spent[name].append(sides[name].some(kinds[name][what], times[name]))
            medians[name].append(median(times[name][first:]))
        row = {"what": what, **{name: figures.spread(times[name]) | {"cpu": 1000 * median(spent[name])} for name in sides}}
        ratios = [b / a for a, b in zip(*list(medians.values())[:2], strict=True)] if len(sides) > 1 else []
        row["ratio"] = {"median": median(ratios), "low": min(ratios), "high": max(ratios)} if ratios else None
        found.append(row)
        figures_ = "  ".join(f"{name} {row[name]}" for name in sides)
        print(f"{what:44} {figures_}  {' '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="Folder where the filled server stays.")
    parser.add_argument("--only", default="", help="Kinds of request whose name has this; nothing is written down.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="potstill-bench-") as temporary:
        folder = given.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with stored.postgres(folder / "pg") as server:
            sides: dict[str, Side] = {}
            try:
                for name, jobs in SIZES.items():
                    home = Path(temporary) / name
                    url = stored.database(server, name, lambda url, home=home, jobs=jobs: rows.fill(url, home, jobs, POINTS))
                    sides[name] = Side(url, home)
                found = measure(sides, given.only)
            finally:
                for side in sides.values():
                    side.api.stop()
            if not given.only:
                figures.write("at-scale", "python -m benchmarks.at_scale", sizes=SIZES, rows=found)


if __name__ == "__main__":
    main()
