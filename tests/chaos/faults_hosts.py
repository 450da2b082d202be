"""Three hosts that share a database, a broker and an object store, and nothing else: one is cut off, one is killed and comes back."""

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from chaos_clock import skewed
from chaos_faults import Trial, each, fault
from chaos_jobs import World, job, undisturbed
from chaos_network import Network, refusal
from chaos_servers import Redis
from chaos_world import Worker, living
from servers import ObjectStore, until

HOSTS = ("one", "two", "three")
LEASE = 15.0
HOUR = 3600
RUN = job(epochs=150)
STEPS = 150 * 23
SPEC = {**RUN, "evaluation": {"seeds": len(HOSTS)}}


class Hosts(World):
    """Each worker in a network of its own with a home of its own. wrong: a host whose clock is an hour ahead."""

    def __init__(self, folder: Path, wrong: str | None) -> None:
        self.network = Network(HOSTS)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.store, self.redis = ObjectStore(self.network.address), Redis(folder, address=self.network.address)
            os.environ.update(self.store.environment)  # for this process, which looks at the files afterwards
            self.wrong, self.tools = wrong, Path(tempfile.mkdtemp(prefix="potstill-clock-"))
            super().__init__(
                Path(tempfile.mkdtemp(dir=folder)), "postgres", self.network.address, hosts=HOSTS, lease=LEASE, broker_url=self.redis.url,
                POTSTILL_ARTIFACTS_URL="s3://potstill/artifacts", **self.store.environment,
            )  # fmt: skip
        except BaseException:
            self._close_network()
            raise

    def worker(self, host: str, **environment: str) -> Worker:
        skew = skewed(self.tools, HOUR) if host == self.wrong else {}
        return super().worker(host, **{**environment, **skew})

    def inside(self, host: str) -> list[str]:
        return self.network.inside(host)

    def close(self) -> None:
        super().close()
        self._close_network()

    def _close_network(self) -> None:
        for one in ("redis", "store"):
            if (server := getattr(self, one, None)) is not None:
                server.kill()
        self.network.close()


@fault(
    "hosts", "of three hosts without a shared disk one is cut off for longer than its lease, one killed and brought back", fast=1, long=20
)
def hosts(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    if (why := refusal()) is not None:
        print(f"hosts: skipped, {why}", file=sys.stderr)
        return
    for odd in (0, 1):  # odd ones with a clock that is an hour ahead
        mine = [seed for seed in seeds if seed % 2 == odd]
        yield from each("hosts", mine, lambda odd=odd: Hosts(folder, "two" if odd else None), _hosts)  # type: ignore[misc]


def _hosts(world: Hosts, random: random.Random, trial: Trial) -> None:
    """Every run is held at the same step until one link is cut, so that there is something to take over however fast the machine is."""
    world.replace_the_dead()
    world.plan.arm("step", nth=random.randint(STEPS // 20, STEPS // 4), times=len(HOSTS), action="hold")
    parent = world.submit(SPEC)
    runs = world.row(parent).runs
    until(lambda: len(world.plan.fired()) == len(HOSTS), 300, "the same step of every run")
    until(lambda: all(world.events(run, "checkpoint") for run in runs), 120, "a checkpoint of every run")
    where = {run: holder for run in runs if (holder := world.holder(run)) is not None}
    trial.expect({holder.host for holder in where.values()} == set(HOSTS), f"the runs are on {[one.host for one in where.values()]}")
    lost, hit = random.sample(sorted(where), 2)
    attempts = {run: world.row(run).attempt for run in runs}
    (trainer,) = where[lost].trainers()

    world.did("cut", host=where[lost].host)
    world.network.cut(where[lost].host)
    cut = time.time()
    world.plan.disarm()
    time.sleep(random.uniform(0, 0.5))
    killed = world.kill(trial, where[hit])
    world.worker(where[hit].host).ready()
    trial.recovery_seconds.append(world.back_after(hit, killed, attempts[hit] + 1))
    until(lambda: not living([trainer]), LEASE + 30, "the end of the trainer that was cut off")
    trial.facts["taken_over"] = round(world.back_after(lost, cut, attempts[lost] + 1, 400), 1)
    told = [event.data.get("worker") for event in world.events(lost, "status") if event.data["to"] == "running"]
    trial.expect(told[-1] != where[lost].id, "the worker that was cut off took it again")
    time.sleep(random.uniform(0, LEASE / 2))
    world.network.mend(where[lost].host)
    world.did("mended", host=where[lost].host)
    until(lambda: "lease lost" in where[lost].process.said(), 60, "its word that it has lost its lease")
    _end(world, trial, parent, runs)


def _end(world: Hosts, trial: Trial, parent: str, runs: list[str]) -> None:
    row = world.ends_well(trial, parent)
    values = (row.report or {})["arms"]["model"]["metrics"]["accuracy"]["values"]
    trial.expect(len(values) == len(runs), f"{len(values)} results of {len(runs)} runs")
    for number, run in enumerate(runs):
        alone = {**RUN, "training": {**RUN["training"], "seed": 42 + number}}
        trial.expect(world.weights(run) == undisturbed(alone, world.threads), f"the weights of {run} are not those of an undisturbed run")
    trial.violations += world.check(*runs)
    trial.facts |= {"attempts": [world.row(run).attempt for run in runs], "clock": world.wrong}
    for host in HOSTS:
        trial.expect(not list((world.folder / host / "artifacts").glob("*")), f"{host} has artifacts on its own disk")
