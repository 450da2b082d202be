"""Databases full of jobs as people leave them: copies of a few that the API itself took, made by statements inside the database."""

import json
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

import migrations
from benchmarks.stored import KEY, Api
from models import browser
from models.ids import new_id
from models.job import Event, Job, JobDependency
from models.points import SUMMARIES
from models.project import Key, Project, add_key, default_project
from models.session import Database

# Reports of real jobs: a student beside its control with 12 seeds, 8 kB; and a single run, 1 kB.
COMPARED, SINGLE = (Path(__file__).parent / "results" / "data" / name for name in ("amount-rows-100.json", "amount-teacher.json"))
CHUNK = 100_000  # jobs in one transaction; a multiple of twenty
SPACING = 20_000  # milliseconds between two jobs: a million in 231 days
TRAIN: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [32]},
    "training": {"epochs": 40},
}
# Of each twenty: five teachers, five students with a parent's eight runs between them, one evaluation, one trial of a sweep.
KIND = "CASE WHEN i % 20 < 5 THEN 'train' WHEN i % 20 = 18 THEN 'evaluate' ELSE 'distill' END"
COMPARES, IS_RUN, IS_TRIAL = "i % 20 BETWEEN 5 AND 9", "i % 20 BETWEEN 10 AND 17", "i % 20 = 19"
STATUS = """CASE WHEN i % 1000 = 0 THEN 'queued' WHEN i % 20000 = 1 THEN 'running' WHEN i % 50 = 3 THEN 'failed'
  WHEN i % 50 = 4 THEN 'cancelled' ELSE 'succeeded' END"""
ENDED = "became IN ('succeeded', 'failed', 'cancelled')"
PROJECTS = ["default", *(f"project {number}" for number in range(1, 5))]
PROJECT = "CASE WHEN i / 20 % 4 = 3 THEN 'project ' || (1 + i / 80 % 4) ELSE 'default' END"  # three quarters are the first one's
ERROR = {"code": "diverged", "message": "The loss became NaN at step 120.", "hint": "Lower training.optimizer.lr."}
PROGRESS = {"phase": "saving", "step": 920, "total_steps": 920, "epoch": 40, "steps_per_second": 812.5, "eta_seconds": 0.0}
LATEST = {"train/loss": 0.0123, "train/accuracy": 0.998, "validation/loss": 0.091, "validation/accuracy": 0.974, "lr": 0.001}


def fill(url: str, home: Path, jobs: int, points: dict[str, tuple[int, int]]) -> None:
    """Migrates an empty database and puts `jobs` jobs with their events into it. points: of further jobs, by name, how many metrics
    with how many points each."""
    migrations.upgrade(url)
    store = Database(url)
    with store.write() as session:
        add_key(session, default_project(session), "benchmark", KEY)
        session.add_all([Project(id=new_id("prj"), name=name) for name in PROJECTS[1:]])
    sql = _Sql(store.dialect)
    templates = _templates(url, home)
    first = round(time.time() * 1000) - SPACING * jobs
    for begin in range(0, jobs, CHUNK):
        with store.write() as session:
            _copies(session, sql, templates, first, begin, min(begin + CHUNK, jobs))
    with store.write() as session:
        for table, column in ((Event, Event.job_id), (JobDependency, JobDependency.job_id), (Job, Job.id)):
            session.execute(sa.delete(table).where(column.in_(templates)))
        for name, (metrics, each) in points.items():
            _points(session, sql, name, metrics, each)
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if store.dialect == "postgresql" else "ANALYZE")
    store.dispose()


def _templates(url: str, home: Path) -> list[str]:
    """One job of each kind, as the API takes them."""
    api = Api(url, home)
    try:
        teacher = _submit(api, TRAIN)
        distill = {"kind": "distill", "teacher": {"job": teacher}, "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7}}
        evaluate = {name: TRAIN[name] for name in ("task", "data")} | {"kind": "evaluate", "student": {"job": teacher}}
        return [teacher, _submit(api, {**TRAIN, **distill, "evaluation": {"control": False}}), _submit(api, evaluate)]
    finally:
        api.stop()


def _submit(api: Api, spec: dict[str, Any]) -> str:
    return str(json.loads(api.ask("POST", "/v1/jobs", json.dumps(spec).encode())[1])["id"])


class _Sql:
    """The few words that databases say differently."""

    def __init__(self, dialect: str) -> None:
        self.postgres = dialect == "postgresql"

    def id(self, prefix: str, number: str) -> str:
        """As new_id's: milliseconds in 12 digits, then what makes it unique."""
        moment, number = f"CAST({number} * :spacing + :first AS BIGINT)", f"CAST({number} AS BIGINT)"
        if self.postgres:
            return f"'{prefix}_' || lpad(to_hex({moment}), 12, '0') || '7' || lpad(to_hex({number}), 19, '0')"
        return f"'{prefix}_' || printf('%012x', {moment}) || '7' || printf('%019x', {number})"

    def time(self, number: str) -> str:
        seconds = f"({number} * :spacing + :first) / 1000.0"
        return f"to_timestamp({seconds})" if self.postgres else f"strftime('%Y-%m-%d %H:%M:%f000', {seconds}, 'unixepoch')"

    def json(self, value: str) -> str:
        return f"CAST({value} AS JSONB)" if self.postgres else value

    def object(self, pairs: str) -> str:
        return f"jsonb_build_object({pairs})" if self.postgres else f"json_object({pairs})"


def _copies(session: Session, sql: _Sql, templates: list[str], first: int, begin: int, end: int) -> None:
    """Jobs from number `begin` to before `end`. first: when number 0 was, in milliseconds."""
    if sql.postgres:  # no looking up of each row's foreign keys: they are right
        session.execute(sa.text("SET LOCAL session_replication_role = replica"))
    compared, single = (json.loads(path.read_text())["report"] for path in (COMPARED, SINGLE))
    contents = {"compared": compared, "single": single, "error": ERROR, "progress": PROGRESS, "latest": LATEST}
    given = {
        "begin": begin,
        "end": end,
        "first": first,
        "spacing": SPACING,
        **{name: json.dumps(value) for name, value in contents.items()},
    }
    different = {
        "id": sql.id("job", "i"),
        "project_id": "p.id",
        "name": "'digits-' || asked || '-' || (i % 997)",
        "status": "became",
        "status_reason": "NULL",
        "metadata": sql.object("'team', 'team ' || (i % 7), 'ticket', 'T-' || i"),
        "parent_id": f"CASE WHEN {IS_RUN} THEN {sql.id('job', '(i / 20 * 20 + 5 + i % 5)')} END",
        "arm": f"CASE WHEN {IS_RUN} THEN CASE WHEN i % 2 = 0 THEN 'student' ELSE 'control' END END",
        "seed": f"CASE WHEN {IS_RUN} THEN i % 20 END",
        "sweep_id": f"CASE WHEN {IS_TRIAL} THEN {sql.id('swp', '(i / 2000 * 2000)')} END",
        "created_at": sql.time("i"),
        "queued_at": sql.time("i"),
        "started_at": f"CASE WHEN became <> 'queued' THEN {sql.time('i')} END",
        "finished_at": f"CASE WHEN {ENDED} THEN {sql.time('i')} END",
        "attempt": "1",
        "event_seq": "4",
        "progress": sql.json(":progress"),
        "latest": sql.json(":latest"),
        "report": f"CASE WHEN became <> 'succeeded' THEN NULL WHEN {COMPARES} THEN {sql.json(':compared')} ELSE {sql.json(':single')} END",
        "error": f"CASE WHEN became = 'failed' THEN {sql.json(':error')} END",
    }
    names = [column.name for column in Job.__table__.columns]
    numbers = f"""WITH RECURSIVE n(i) AS (SELECT CAST(:begin AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :end),
      s AS (SELECT i, {STATUS} AS became, {KIND} AS asked, {PROJECT} AS project FROM n)"""
    chosen = ", ".join(different.get(name, f"t.{name}") for name in names)
    _run(
        session,
        f"INSERT INTO jobs ({', '.join(names)}) {numbers} SELECT {chosen} "
        "FROM s JOIN jobs t ON t.kind = asked AND t.id IN (:train, :distill, :evaluate) JOIN projects p ON p.name = project",
        **given,
        **dict(zip(("train", "distill", "evaluate"), templates, strict=True)),
    )
    numbered = {name: given[name] for name in ("begin", "end", "first", "spacing")}
    parent = different["parent_id"]
    teacher = sql.id("job", "(i - 5)")  # of the first five students of each twenty, those before them
    _run(
        session,
        f"""INSERT INTO job_dependencies (job_id, needs_id, needs_status, is_run) {numbers}
        SELECT {sql.id("job", "i")}, {teacher}, 'succeeded', FALSE FROM s WHERE i % 20 BETWEEN 5 AND 9
        UNION ALL SELECT {parent}, {sql.id("job", "i")}, became, TRUE FROM s WHERE {IS_RUN}""",
        **numbered,
    )
    _run(
        session,
        f"""INSERT INTO events (job_id, seq, type, level, message, data, attempt, created_at) {numbers},
        e(seq, type, message, data) AS (VALUES (1, 'status', 'accepted', '{{"to": "queued"}}'),
          (2, 'status', 'running', '{{"from": "queued", "to": "running"}}'), (3, 'phase', 'training', '{{"phase": "training"}}'),
          (4, 'status', 'succeeded', '{{"from": "running", "to": "succeeded"}}'))
        SELECT {sql.id("job", "i")}, seq, type, 'info', message, {"CAST(data AS JSON)" if sql.postgres else "data"}, 1, {sql.time("i")}
        FROM s CROSS JOIN e""",
        **numbered,
    )


def _points(session: Session, sql: _Sql, name: str, metrics: int, each: int) -> None:
    """A finished job like the others, with curves: a decay with noise."""
    copied = ", ".join({"id": ":id", "name": ":name"}.get(column.name, column.name) for column in Job.__table__.columns)
    finished = "kind = 'train' AND status = 'succeeded' AND project_id = (SELECT id FROM projects WHERE name = 'default')"
    id_ = new_id("job")
    _run(session, f"INSERT INTO jobs SELECT {copied} FROM jobs WHERE {finished} ORDER BY id DESC LIMIT 1", id=id_, name=name)
    _run(
        session,
        f"""INSERT INTO metric_points (job_id, arm, seed, name, step, value, time)
        WITH RECURSIVE n(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :each),
          m(number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM m WHERE number + 1 < :metrics)
        SELECT :id, 'model', 0, CASE number WHEN 0 THEN 'train/loss' WHEN 1 THEN 'train/accuracy' WHEN 2 THEN 'lr'
          WHEN 3 THEN 'steps_per_second' ELSE 'train/loss/term-' || number END, i,
          2.3 / (1 + i * 0.001) + (i * 7919 % 1000) * 0.0001, {sql.time("0")} FROM m CROSS JOIN n""",
        id=id_,
        metrics=metrics,
        each=each,
        first=round(time.time() * 1000),
        spacing=SPACING,
    )
    given = {"job_id": id_, "arm": "model", "seed": 0, "first": 0, "last": each}
    names = list(session.scalars(sa.text("SELECT DISTINCT name FROM metric_points WHERE job_id = :id"), {"id": id_}))
    for statement in SUMMARIES.values():
        session.execute(statement, {**given, "names": names})


def _run(session: Session, statement: str, **given: Any) -> None:
    session.execute(sa.text(statement), given)


def cookie(url: str) -> dict[str, str]:
    """Headers of a browser that is logged in with the benchmark's key."""
    store = Database(url)
    with store.write() as session:
        secret = browser.new_session(session, session.scalars(sa.select(Key.id).where(Key.name == "benchmark")).one())
    store.dispose()
    return {"Cookie": f"potstill_session={secret}", "Accept": "text/html"}
