"""The lists: jobs, sweeps, models, datasets, keys, and what the system is doing."""

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import lookup, paging
from api.filters import top_level
from api.health import workers as workers_trouble
from api.pages.render import html
from api.pages.visitor import Visit
from api.routes import keys as key_routes
from api.routes.workers import view_of_workers
from contract.errors import InvalidSpec
from contract.status import JobStatus
from models import quotas
from models.base import now
from models.dataset import Dataset
from models.job import Job, views
from models.project import Key
from models.results import Model
from models.sweep import Sweep

LIMIT = 50
SCOPES = {"read": "read", "submit": "read and submit", "admin": "administer, too"}
LIVES = {"": "ever", "1": "a day", "30": "30 days", "90": "90 days", "365": "a year"}  # days of a new key
DAY = 86_400


def _paging(request: Request) -> Any:
    after, before = request.query_params.get("after"), request.query_params.get("before")
    return paging.asked(LIMIT, after, before if after is None else None)


def jobs(visit: Visit) -> Response:
    query = visit.request.query_params
    statuses = [status for status in query.getlist("status") if status in set(JobStatus)]
    named = query.get("name", "").strip()
    where = top_level()
    if statuses:
        where.append(Job.status.in_(statuses))
    if named:
        where.append(Job.name.contains(named, autoescape=True))
    with visit.services.database.read() as session:
        page = paging.page(session, Job, _paging(visit.request), views, within=Job.project_id == visit.caller.project_id, where=where)
    live = any(not job.status.final for job in page.data)
    kept = urlencode([("name", named)] * bool(named) + [("status", status) for status in statuses])
    return html(visit.request, "jobs.html", page=page, statuses=statuses, named=named, live=live, kept=kept)


def sweeps(visit: Visit) -> Response:
    with visit.services.database.read() as session:
        mine = Sweep.project_id == visit.caller.project_id
        page = paging.page(session, Sweep, _paging(visit.request), paging.each(lambda sweep: sweep.view(whole=False)), within=mine)
    return html(visit.request, "sweeps.html", page=page)


def sweep(visit: Visit) -> Response:
    with visit.services.database.read() as session:
        found = lookup.sweep(session, visit.caller.project_id, visit.request.path_params["id"]).view()
    fields = list(dict.fromkeys(field for trial in found.trials or [] for field in trial.values))
    points = [
        {"number": t.number, "x": t.parameters, "y": t.value, "front": t.number in found.frontier}
        for t in found.trials or []
        if t.value is not None and t.parameters is not None
    ]
    return html(visit.request, "sweep.html", sweep=found, fields=fields, points=points)


def models(visit: Visit) -> Response:
    with visit.services.database.read() as session:
        mine = Model.project_id == visit.caller.project_id
        page = paging.page(session, Model, _paging(visit.request), paging.each(Model.view), within=mine)
    return html(visit.request, "models.html", page=page)


def datasets(visit: Visit) -> Response:
    with visit.services.database.read() as session:
        mine = Dataset.project_id == visit.caller.project_id
        page = paging.page(session, Dataset, _paging(visit.request), paging.each(Dataset.view), within=mine)
    return html(visit.request, "datasets.html", page=page)


def system(visit: Visit) -> Response:
    version = visit.services.version
    mine = Job.project_id == visit.caller.project_id
    with visit.services.database.read() as session:
        workers = view_of_workers(session, visit.caller.project_id)
        counts = _counts(session, visit.caller.project_id)
        oldest = session.scalar(select(func.min(Job.queued_at)).where(mine, Job.status == JobStatus.QUEUED))
        moment = session.scalar(select(now()))
        kept = quotas.stored_bytes(session, visit.caller.project_id)
        running = [one.job for worker in workers for one in worker.running]
        names = dict(session.execute(select(Job.id, Job.name).where(Job.id.in_(running))).all())
    waited = (moment - oldest).total_seconds() if oldest is not None and moment is not None else None
    trouble = workers_trouble(visit.services.database, version)
    shown = {"kept": kept, "most": visit.services.quotas.stored_bytes, "disk": _disk(visit.services.blobs.local), "names": names}
    return html(visit.request, "system.html", workers=workers, counts=counts, waited=waited, trouble=trouble, version=version, **shown)


def _disk(folder: Path | None) -> Any:
    """How full the disk is that has `folder`; None where artifacts lie in no folder of this machine."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None) if folder is not None else None
    return shutil.disk_usage(there) if there is not None else None


def _counts(session: Session, project_id: str) -> dict[str, int]:
    found = dict(session.execute(select(Job.status, func.count()).where(Job.project_id == project_id).group_by(Job.status)).all())
    return {status.value: found.get(status, 0) for status in JobStatus}


def keys(visit: Visit, secret: str | None = None, problem: str | None = None) -> Response:
    with visit.services.database.read() as session:
        mine = Key.project_id == visit.caller.project_id
        page = paging.page(session, Key, _paging(visit.request), paging.each(key_routes.view), within=mine)
    shown = {"page": page, "secret": secret, "problem": problem, "own": visit.caller.key_id, "scopes": SCOPES, "lives": LIVES}
    return html(visit.request, "keys.html", 422 if problem else 200, **shown)


def new_key(visit: Visit) -> Response:
    """The answer to the form holds the secret; reloading it sends the form again, which browsers ask about."""
    days = visit.form.get("days", "")
    if days not in LIVES:
        return keys(visit, problem=f"days: choose one of {', '.join(filter(None, LIVES))}, or nothing for a key that does not end")
    asked: dict[str, object] = {"name": visit.form.get("name", "").strip(), "scopes": [visit.form.get("scope", "submit")]}
    asked |= {"expires_in_seconds": DAY * int(days)} if days else {}
    try:
        wanted = key_routes.parse(asked)
        with visit.services.database.write() as session:
            _, secret = key_routes.add(session, visit.caller, wanted)
    except InvalidSpec as error:
        return keys(visit, problem=error.detail)
    return keys(visit, secret=secret)


def revoke_key(visit: Visit) -> Response:
    with visit.services.database.write() as session:
        key_routes.end(session, visit.caller, lookup.key(session, visit.caller.project_id, visit.request.path_params["id"]))
    return RedirectResponse("/keys", 303)
