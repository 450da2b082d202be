"""`python -m benchmarks.compare [REVISION]`: the ratios that were measured last, in benchmarks/data, beside those of a revision (HEAD).

Seconds depend on the machine and on who else uses it; a ratio was taken between two that ran in turn, so it can be held against one of
another day. A ratio is worse when all its rounds are worse than all rounds before; where there is one, by a tenth and more. Exit code 1
when one is.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.figures import DATA

ROOT = Path(__file__).parents[1]
ALONE = 1.1  # of a single figure against a single one
Record = dict[str, Any]


class Ratio(NamedTuple):
    """Of each round; `better` is the direction in which it gets better."""

    rounds: list[float]
    better: int = 1

    def against(self, before: "Ratio") -> str:
        """`worse`, `better` or nothing."""
        mine, theirs = self._good(), before._good()
        beyond = ALONE if min(len(mine), len(theirs)) == 1 else 1.0
        if max(mine) * beyond < min(theirs):
            return "worse"
        return "better" if min(mine) > max(theirs) * beyond else ""

    def _good(self) -> list[float]:
        """The more the better."""
        return [value**self.better for value in self.rounds]


def _training(name: str, record: Record) -> dict[str, Ratio]:
    """How many times as fast as each contender, by seconds of all cores; cold beside cold."""
    rounds = record["rounds"]
    ours = [each for each in rounds[0] if each.startswith("potstill")]
    found = {}
    for mine in ours:
        for other in rounds[0]:
            if not other.startswith("potstill") and ("," not in other or other.split(",")[-1] == mine.split(",")[-1]):
                found[f"{name}: {other} / {mine}"] = Ratio([one[other]["train_cpu_s"] / one[mine]["train_cpu_s"] for one in rounds])
    return found


def _beside_mlflow(_name: str, record: Record) -> dict[str, Ratio]:
    return {f"MLflow / potstill: {row['what']}": Ratio(_ends(row["ratio"])) for row in record["rows"]}


def _at_scale(_name: str, record: Record) -> dict[str, Ratio]:
    return {f"1,000,000 jobs / 1,000: {row['what']}": Ratio(_ends(row["ratio"]), -1) for row in record["rows"] if "ratio" in row}


def _devices(_name: str, record: Record) -> dict[str, Ratio]:
    return {f"processes × threads {row['way']} / 1 × 1": Ratio(row["against_one"]) for row in record["rows"][1:]}


def _objects(_name: str, record: Record) -> dict[str, Ratio]:
    return {f"boto3 / potstill: {row['mib']} MiB {what}": Ratio(row[what]["ratios"]) for row in record["rows"] for what in ("up", "down")}


def _ends(ratio: dict[str, float]) -> list[float]:
    return [ratio[name] for name in ("low", "median", "high") if name in ratio]


READERS: dict[str, Callable[[str, Record], dict[str, Ratio]]] = {
    "training-": _training,
    "beside-mlflow": _beside_mlflow,
    "at-scale": _at_scale,
    "devices": _devices,
    "objects": _objects,
}


def ratios(records: dict[str, Record]) -> dict[str, Ratio]:
    """Of all records, by what they are of."""
    found: dict[str, Ratio] = {}
    for name, record in records.items():
        for begin, read in READERS.items():
            if name.startswith(begin):
                found |= read(name, record)
    return found


def main() -> int:
    revision = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    now = {path.stem: json.loads(path.read_text()) for path in sorted(DATA.glob("*.json"))}
    then = {name: record for name in now if (record := _at(revision, name)) is not None}
    before, found = ratios(then), ratios(now)
    words = {}
    for what, ratio in found.items():
        was = f"{median(before[what].rounds):8.2f}" if what in before else " " * 8
        words[what] = ratio.against(before[what]) if what in before else "new"
        print(f"{was} → {median(ratio.rounds):6.2f}  {words[what]:7}{what}")
    worse = sum(word == "worse" for word in words.values())
    print(f"{len(found)} ratios beside {revision}: {worse} worse, {sum(word == 'better' for word in words.values())} better")
    return int(worse > 0)


def _at(revision: str, name: str) -> Record | None:
    asked = ["git", "show", f"{revision}:{(DATA / f'{name}.json').relative_to(ROOT)}"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if said.returncode == 0:
        found: Record = json.loads(said.stdout)
        return found
    if subprocess.run(
        ["git", "rev-parse", "--verify", "-q", f"{revision}^{{commit}}"], cwd=ROOT, capture_output=True, check=False
    ).returncode:
        raise SystemExit(f"git knows no revision {revision}")
    return None


if __name__ == "__main__":
    raise SystemExit(main())
