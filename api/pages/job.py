"""The page of one job, its parts, and what can be done to it."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from api import checkpoints, deletion, lookup, paging, series, uses
from api.pages.curves import POINTS, charts
from api.pages.render import html
from api.pages.visitor import Page, Visit
from contract.compare import flat
from contract.errors import NotFound
from contract.wire import EventView, JobView
from models import lifecycle
from models.dataset import Dataset
from models.job import Event, Job
from models.results import Artifact
from models.sweep import Sweep
from models.teardown import let_go

LINES = 500
TABS = ("overview", "metrics", "logs", "checkpoints", "files", "disagreements", "events", "reproduce")


def show(visit: Visit) -> Response:
    tab = visit.request.query_params.get("tab", "overview")
    if tab not in TABS:
        raise NotFound(f"A job's page has no part {tab[:40]!r}.", hint=f"It has {', '.join(TABS)}.")
    job_id = visit.request.path_params["id"]
    with visit.services.database.read() as session:
        job = lookup.job(session, visit.caller.project_id, job_id)
        view, runs = job.view(), [run.view() for run in session.scalars(select(Job).where(Job.parent_id == job.id).order_by(Job.id))]
        last = session.scalars(select(Event).where(Event.job_id == job.id).order_by(Event.seq.desc()).limit(1)).first()
        part = _part(session, visit, tab, job)
        names = _names(session, view)
    started = view.started_at
    return html(
        visit.request,
        "job.html",
        job=view,
        runs=runs,
        tab=tab,
        tabs=TABS,
        seq=last.seq if last is not None else 0,
        changed=flat(view.spec),
        resolved=flat(view.resolved_spec),
        strip=strip(view.report),
        names=names,
        elapsed=(datetime.now(UTC) - started).total_seconds() if started is not None and view.status in ("running", "waiting") else None,
        **part,
    )


def _names(session: Session, view: JobView) -> dict[str, str]:
    """What the jobs and the sweep beside this one are called; one that was deleted is not among them."""
    ids = [*view.depends_on, view.parent, view.retry_of]
    found: list[tuple[str, str]] = [*session.execute(select(Job.id, Job.name).where(Job.id.in_(filter(None, ids))))]
    if view.sweep is not None:
        found += session.execute(select(Sweep.id, Sweep.name).where(Sweep.id == view.sweep))
    return dict(found)


def _part(session: Any, visit: Visit, tab: str, job: Job) -> dict[str, Any]:
    """What only this part of the page shows."""
    ids = job.runs or [job.id]
    found: dict[str, Any] = {"charts": [], "lines": [], "files": [], "kept": [], "search": "", "datasets": []}
    if tab in ("overview", "metrics"):
        points = series.read(session, ids, {}, None, POINTS)
        found["charts"] = charts(points, job.report, everything=tab == "metrics")
    if tab in ("overview", "logs", "events"):
        found["search"] = visit.request.query_params.get("q", "")
        query = select(Event).where(Event.job_id == job.id).order_by(Event.seq.desc()).limit(10 if tab == "overview" else LINES)
        if tab != "events":
            query = query.where(Event.type.in_(("log", "warning", "status", "phase")))
        if found["search"]:
            query = query.where(Event.message.icontains(found["search"], autoescape=True))
        found["lines"] = [EventView.model_validate(row, from_attributes=True) for row in session.scalars(query)][::-1]
    if tab in ("files", "reproduce"):
        rows = session.scalars(select(Artifact).where(Artifact.job_id == job.id).order_by(Artifact.path))
        found["files"] = [row.view() for row in rows]
    if tab == "reproduce":
        found["datasets"] = session.scalars(select(Dataset).where(Dataset.id.in_(uses.named(job.resolved_spec)))).all()
    if tab == "checkpoints":
        found["kept"] = checkpoints.page(checkpoints.read(session, ids), paging.asked(100, None, None)).data
    return found


def strip(report: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    """What it was worth, in a few figures: (heading, figure, what stands below it)."""
    if not report or "arms" not in report:
        return []
    metric, arms = report["metric"], report["arms"]
    measured = {name: (arm.get("metrics", {}).get(metric) or {}) for name, arm in arms.items() if arm}
    own = measured.get("student") or measured.get("model") or {}
    found = [(f"{metric}", f"{own['mean']:.4f}", _beside(measured, own))] if own else []
    if report.get("retained"):
        found.append(("retained", f"{100 * report['retained']['mean']:.1f} %", f"of the teacher's {metric}"))
    if report.get("gain"):
        found.append(("gain over the control", f"{report['gain']['mean']:+.4f}", _interval(report["gain"], "+.4f") or "no interval"))
    if report.get("gap_recovered"):
        found.append(("gap recovered", f"{100 * report['gap_recovered']['mean']:.0f} %", "from the control to the teacher"))
    if report.get("compression"):
        found.append(("smaller", f"{report['compression']:.1f}×", "in parameters"))
    if report.get("speedup"):
        found.append(("faster", f"{report['speedup']:.1f}×", "one row at a time"))
    for name, one in (report.get("export") or {}).get("against_model", {}).items():
        found.append((name, f"{measured[name]['mean']:.4f}", f"{one['smaller']:.1f}× smaller · {one['faster']:.1f}× faster"))
    return found


def _beside(measured: dict[str, Any], own: dict[str, Any]) -> str:
    others = [f"{name} {measured[name]['mean']:.4f}" for name in ("teacher", "control") if measured.get(name)]
    return " · ".join(others) or _interval(own, ".4f")


def _interval(measured: dict[str, Any], form: str) -> str:
    low, high = measured.get("ci95") or (None, None)
    return f"95 % {low:{form}} to {high:{form}}" if low is not None else ""


STEER = {"cancel": lifecycle.cancel, "pause": lifecycle.pause, "resume": lifecycle.resume}
ACTIONS = (*STEER, "retry", "delete")


def act(action: str) -> Page:
    """What the button `action` of a job's page does."""

    def done(visit: Visit) -> Response:
        job_id, loose = visit.request.path_params["id"], []
        with visit.services.database.write() as session:
            if action == "retry":
                visit.services.quotas.room_for_jobs(session, visit.caller.project_id, 1)  # the project before its jobs
            job = lookup.job_to_change(session, visit.caller.project_id, job_id)
            if action == "delete":
                loose, due = deletion.delete(session, visit.caller, deletion.family(session, job)), []
            elif action == "retry":
                uses.refuse_if_deleted(session, job)
                again = lifecycle.retry(session, job, fresh=False)
                job_id, due = again.id, lookup.due(session, again)
            else:
                STEER[action](session, job)
                due = lookup.due(session, job)
        for id_ in due:
            visit.services.bell.ring(id_)
        let_go(visit.services.database, visit.services.blobs, loose)
        return RedirectResponse("/" if action == "delete" else f"/jobs/{job_id}", 303)

    return done
