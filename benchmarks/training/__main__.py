"""`python -m benchmarks.training --peers PYTHON [TASK …]`: one more round of each task, kept in benchmarks/data; `page` writes the page.

PYTHON is that of an environment with torch, transformers, accelerate, datasets, textbrewer and trl, without torchvision. Each contender of
a round is a process of its own with the same threads, one after another; each round begins with another one. Quality is measured with the
speed: a student that is worse has not done the same work.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.training import page, store
from benchmarks.training.tasks import OURS, TASKS, Order

SCRIPTS = Path(__file__).parent / "contenders"
LONGEST = 1800  # seconds of one contender


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}, or `page`; all when none is named")
    parser.add_argument("--peers", help="the Python of the peers' environment")
    parser.add_argument("--data", default=os.environ.get("POTSTILL_TEST_DATA", "data"), type=Path)
    parser.add_argument("--work", default=Path("build/training"), type=Path, help="teachers, caches and results of contenders")
    parser.add_argument("--rounds", default=5, type=int, help="to add to those there are")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--fresh", action="store_true", help="forget the rounds there are")
    parser.add_argument("--only", action="append", default=[], help="a contender; others are left out, and nothing is kept")
    asked = parser.parse_args()
    if unknown := set(asked.tasks) - {*TASKS, "page"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    for name in [task for task in TASKS if task in asked.tasks or not asked.tasks]:
        measure(name, asked)
    if "page" in asked.tasks or not asked.tasks:
        page.write()


def measure(name: str, asked: Any) -> None:
    task, work = TASKS[name], asked.work.absolute()
    order = {**task.make(asked.data.absolute(), work), "threads": asked.threads, "device": "cpu"}
    rounds = [] if asked.fresh or asked.only else store.rounds(name)
    contenders = [one for one in task.contenders if one in asked.only or not asked.only]
    for _ in range(asked.rounds):
        begin = len(rounds) % len(contenders)
        found: dict[str, Any] = {}
        for contender in contenders[begin:] + contenders[:begin]:
            warm = contender.endswith("warm")
            found[contender] = contend(task.contenders[contender], order, work / "runs", asked, warm)
            print(name, contender, {key: round(value, 4) for key, value in found[contender].items()}, flush=True)
        rounds.append({contender: found[contender] for contender in contenders})
        if not asked.only:
            versions = json.loads(subprocess.run([asked.peers, "-c", VERSIONS], capture_output=True, check=True).stdout)
            store.write(name, {"title": task.title, "threads": asked.threads, "versions": versions, "rounds": rounds})


def contend(script: str, order: Order, runs: Path, asked: Any, warm: bool) -> dict[str, float]:
    """cold: its cache is emptied before; warm: it has done the same work once, which is not told."""
    folder = runs / f"{script}-{time.time_ns()}"
    folder.mkdir(parents=True)
    cache = Path(f"{order['cache']}-{script}")
    if not warm:
        shutil.rmtree(cache, ignore_errors=True)
    elif not cache.exists():
        contend(script, order, runs, asked, warm=False)
    path = folder / "order.json"
    path.write_text(json.dumps({**order, "cache": str(cache), "result": str(folder / "result.json")}))
    count = str(asked.threads)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", "PYTHONWARNINGS": "ignore"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), count)
    python = sys.executable if script in OURS else asked.peers
    if script not in OURS:
        environment.pop("PYTHONPATH", None)
    command = [python, str(SCRIPTS / f"{script}.py"), str(path)]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False)
    if said.returncode:
        raise SystemExit(f"{script}:\n{said.stdout[-2000:]}{said.stderr[-4000:]}")
    found: dict[str, float] = json.loads((folder / "result.json").read_text())
    shutil.rmtree(folder)
    return found


VERSIONS = """
import json
from importlib.metadata import version
print(json.dumps({name: version(name) for name in ("torch", "transformers", "textbrewer", "trl")}))
"""

if __name__ == "__main__":
    main()
