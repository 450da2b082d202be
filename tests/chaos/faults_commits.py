"""Commits whose answer is lost: cut from the server by the network, or from the client by the death of the API."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from chaos_api import POINTS, START_API, ApiPlan
from chaos_faults import Trial, each, fault
from chaos_infrastructure import TINY, Site
from chaos_proxy import Proxy, never
from chaos_world import PYTHON
from servers import Process, until

from models.dataset import Dataset
from models.job import Job

SPEC = {**TINY, "student": {"arch": "mlp", "hidden": [16]}, "training": {"epochs": 10, "checkpoint_every_seconds": 0.1}}
ROWS = "a,b,label\n" + "".join(f"{i},{i * 7 % 5},{i % 2}\n" for i in range(40))


@fault("ambiguity", "the connection cut after COMMIT, before its answer: submission, claim, news, checkpoint, finish", fast=4, long=3000)
def ambiguity(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each("ambiguity", seeds, lambda: Site(folder, proxied=("api", "one"), hosts=("one",), slots=2), _ambiguity)


def _ambiguity(world: Site, random: random.Random, trial: Trial) -> None:
    """Two jobs at once; of the transactions that write, the n-th and some more lose their answer."""
    before = {name: proxy.lost for name, proxy in world.proxies.items()}
    for name, proxy in world.proxies.items():
        _lose(proxy, random.randint(1, 2 if name == "api" else 12), random)
    ids = [world.insist({**SPEC, "training": {**SPEC["training"], "seed": random.randrange(1000)}}) for _ in range(2)]
    world.all_end(ids, 120)
    for proxy in world.proxies.values():
        proxy.lose_answer = never
    world.did("answers lost", **{name: proxy.lost - before[name] for name, proxy in world.proxies.items()})
    rows = world.succeeded(trial, ids)
    trial.expect(all(row.crashes == 0 for row in rows), "a lost answer was counted as the trainer's death")
    trial.expect(sum(proxy.lost for proxy in world.proxies.values()) > sum(before.values()), "no answer was lost")
    trial.facts |= {f"lost_{name}": proxy.lost - before[name] for name, proxy in world.proxies.items()}
    trial.recovery_seconds += [wait for job_id in ids for wait in world.waits(job_id)]


def _lose(proxy: Proxy, nth: int, random: random.Random) -> None:
    target = proxy.commits + nth
    proxy.lose_answer = lambda number: number == target or (number > target and random.random() < 0.1)


# ---- the API dies


class Fortress(Site):
    """Without workers; its API is started again whenever it has been killed."""

    def start_api(self, **environment: str) -> Process:
        self.api_plan = ApiPlan(self.folder / "plan")
        home = {"POTSTILL_HOME": str(self.folder / "api")}
        self.api = Process(
            self.folder, "api", "--port", str(self.port), program=[*PYTHON, START_API], **{**self.environment, **home, **environment}
        )
        return self.api


@fault("api_kill", "kill -9 of the API before and after the commit of a submission or an upload, which is then repeated", fast=4, long=500)
def api_kill(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    yield from each("api_kill", seeds, lambda: Fortress(folder, hosts=()), _api_kill)


def _api_kill(world: Fortress, random: random.Random, trial: Trial) -> None:
    point, upload, name = POINTS[trial.seed % len(POINTS)], random.random() < 0.5, f"trial {trial.seed} {random.random()}"
    file = world.folder / "rows.csv"
    file.write_text(ROWS + f"{random.random()},0,1\n")
    times = random.randint(1, 2)

    def send(key: str) -> str:
        if upload:
            with file.open("rb") as content:
                parts = [("file", (file.name, content))]
                body = world.client.transport.call("POST", "/v1/datasets", fields={"name": name}, parts=parts, idempotency_key=key)
            return str(body["id"])
        return world.submit({**TINY, "name": name}, key)

    world.api_plan.arm_api(point, times)
    acknowledged = world.acknowledged(send)
    until(lambda: len(world.api_plan.fired()) >= 1, 5, "the death of the API")
    kills = len(world.api_plan.fired())
    world.did("kill api", point=point, times=kills)
    world.api_plan.disarm()
    table: Any = Dataset if upload else Job
    with world.database.read() as session:
        there = session.scalars(sa.select(table.id).where(table.name == name)).all()
    trial.expect(there == [acknowledged], f"acknowledged {acknowledged}, there: {there}")
    trial.facts |= {"point": point, "what": "dataset" if upload else "job", "kills": kills}
