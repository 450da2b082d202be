"""A newer version comes while jobs run: its migration first, then its processes, one after the other, beside those that were there."""

import random
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

from chaos_faults import Trial, each, fault
from chaos_jobs import JOB, STEPS, World
from chaos_world import HERE
from servers import CLI, TINY, until

from models.base import REVISION

ROOT = HERE.parents[1]
PACKAGES = ("api", "contract", "datafiles", "distill", "migrations", "models", "outward", "potstill", "worker")
NEXT = f"{int(REVISION) + 1:0{len(REVISION)}}"
# Whatever a migration may do to tables that code of before reads and writes.
MIGRATION = f'''"""what the next version may do"""
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on, breaks = "{NEXT}", "{REVISION}", None, None, None


def upgrade() -> None:
    for table in ("jobs", "events", "artifacts", "checkpoints", "models", "workers", "metric_points", "keys"):
        op.add_column(table, sa.Column("later", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("counted", sa.Integer(), nullable=False, server_default="1"))
    op.create_index("ix_jobs_later", "jobs", ["later"])
    op.create_table("votes", sa.Column("job_id", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True))
    op.execute("INSERT INTO votes SELECT id FROM jobs")
'''
WHOLE = "model_dump_json(exclude={"  # of older code, to which a spec with one more field, though nothing stood in it, was another
STRICT = "return None if found == needed else"  # of code from before revision 0012, which wanted its own tables and no others


def next_version(folder: Path) -> Path:
    """This version with one more migration."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / f"migrations/versions/{NEXT}_next.py").write_text(MIGRATION)
    _replace(folder / "models/base.py", f'REVISION = "{REVISION}"', f'REVISION = "{NEXT}"')
    return folder


def version_before(folder: Path) -> Path | None:
    """The newest code with older tables, whose migrations are this version's first ones; None without the history. In between may lie
    code that could never be released, with two migrations of one number."""
    now = sorted(path.name for path in (ROOT / "migrations/versions").glob("[0-9]*.py"))
    for commit in _git("log", "--format=%H", "--", "migrations/versions"):
        then = sorted(
            name for file in _git("ls-tree", "--name-only", commit, "migrations/versions/") if (name := Path(file).name)[0].isdigit()
        )
        if then != now and then == now[: len(then)]:
            break
    else:
        return None
    there = [package for package in PACKAGES if _git("ls-tree", commit, package)]
    archive = subprocess.run(["git", "archive", commit, *there], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
    loop, schema = folder / "distill/loop.py", folder / "models/schema.py"
    if WHOLE in loop.read_text():
        _replace(loop, WHOLE, "model_dump_json(exclude_none=True, exclude={")
    if STRICT in schema.read_text():
        _replace(schema, STRICT, STRICT.replace("==", ">="))
    return folder


def _git(*asked: str) -> list[str]:
    return subprocess.run(["git", *asked], cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()


def _replace(path: Path, what: str, by: str) -> None:
    text = path.read_text()
    assert what in text, (path, what)
    path.write_text(text.replace(what, by))


class Upgrade(World):
    """Everything runs the old version; `new` is what a process of the new one is told."""

    def __init__(self, folder: Path, backend: str, old: Path, new: Path) -> None:
        self.new = {"PYTHONPATH": f"{new}:{HERE}"}
        self.same_engine = new != ROOT
        super().__init__(folder, backend, PYTHONPATH=f"{old}:{HERE}")

    def migrate(self) -> None:
        environment = {**self.new, "POTSTILL_DATABASE_URL": self.database_url, "PATH": "/usr/bin:/bin"}
        subprocess.run([*CLI, "migrate"], env=environment, check=True, capture_output=True, cwd=self.folder)


@fault("upgrade", "the next version's migration, workers and API, one by one, while the old ones train and take jobs", fast=1, long=8)
def upgrade(folder: Path, seeds: Iterable[int]) -> Iterator[Trial]:
    """Even seeds: from this version to one with one more migration; odd ones: from the one before the newest migration to this."""
    for seed in seeds:
        place = Path(tempfile.mkdtemp(dir=folder))
        other = place / "version"
        other.mkdir()
        backend = ("sqlite", "postgres")[seed // 2 % 2]
        if seed % 2 == 0:
            old, new = ROOT, next_version(other)
        else:
            found = version_before(other)
            if found is None:
                continue
            old, new = found, ROOT
        yield from each("upgrade", [seed], lambda place=place, old=old, new=new: Upgrade(place, backend, old, new), _upgrade)  # type: ignore[misc]  # noqa: B023


def _upgrade(world: Upgrade, random: random.Random, trial: Trial) -> None:
    """The first job is held at a step while the others are done, which makes no difference to it."""
    world.plan.arm("step", nth=random.randint(1, STEPS // 2), action="hold")
    long = world.submit(JOB)
    until(world.plan.fired, 60, "its step")
    world.migrate()
    world.did("migrated")
    ready = urllib.request.urlopen(f"http://127.0.0.1:{world.port}/readyz", timeout=10)
    trial.expect(ready.status == 200, f"the old API says {ready.status} of the new tables")
    holder = world.holder(long)
    assert holder is not None, "it ended before anything could happen"
    idle = next(worker for worker in world.workers if worker is not holder)
    by_old = world.submit(TINY)
    until(lambda: world.row(by_old).status == "succeeded", 60, "a job of the old worker")
    idle.stop()
    idle.process.popen.wait(60)
    new = world.worker(idle.host, **world.new).ready()
    by_new = world.submit(TINY)
    until(lambda: world.row(by_new).status == "succeeded", 60, "a job of the new worker for the old API")
    trial.expect(world.row(long).attempt == 1, "the migration took the running job from its worker")
    world.did("drained", worker=holder.id)
    holder.stop()
    world.plan.disarm()
    until(lambda: world.row(long).attempt == 2, 60, "the new worker's attempt")
    told = [event.data.get("worker") for event in world.events(long, "status") if event.data["to"] == "running"]
    trial.expect(told == [holder.id, new.id], f"it ran on {told}, not on the old worker and then on the new one")
    holder.process.popen.wait(60)
    world.api.stop()
    world.start_api(**world.new)
    until(world._answers, 60, "the new API")
    world.ends_well(trial, long, JOB if world.same_engine else None, 2)
    _no_step_lost(world, trial, long)
    last = world.submit(TINY)
    for job_id in (by_old, by_new, last):
        world.ends_well(trial, job_id)
    world.client.jobs.delete(by_old)
    trial.facts["from"], trial.facts["to"] = ("this version", NEXT) if world.same_engine else ("the version before", REVISION)


def _no_step_lost(world: World, trial: Trial, job_id: str) -> None:
    events = world.events(job_id)
    trained = max(event.data["step"] for event in events if event.type == "metrics" and event.attempt == 1)
    (on,) = [event for event in events if event.message.startswith("resumed from")]
    trial.expect(on.data["step"] >= trained, f"trained to step {trained}, it went on from {on.data['step']}")
