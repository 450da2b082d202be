"""The end of a job of several runs: its runs' reports become one, the best student becomes its own."""

import json
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import evidence
from contract.errors import ErrorBody, ErrorCode
from contract.evidence import Report, RunResult
from contract.status import JobStatus
from models import claims
from models.blobs import Blobs, anew
from models.claims import Claim, StoredFile
from models.ids import new_id
from models.job import Job
from models.lifecycle import switch
from models.results import Artifact, Model
from models.session import Database
from models.teardown import Put, storing
from worker.mirror import Mirrors

CARD = "student/README.md"


def put_together(database: Database, blobs: Blobs, claim: Claim, folder: Path, mirrors: Mirrors) -> None:
    """Succeeded if every run did. With a failed run the job fails and says which and why; if it was cancelled it stays so.
    Either way it reports what there is."""
    with database.read() as session:
        rows = [row for row in (session.get(Job, run) for run in claim.runs) if row is not None]
        results = [_result(row) for row in rows]
    failed = [row for row in rows if row.status != JobStatus.SUCCEEDED]
    report = evidence.combine(results)
    seed = evidence.best_seed(results)
    chosen = next((row for row in rows if row.seed == seed and row.arm in ("student", "model")), None)
    mirrors.end(report, succeeded=all(row.status == JobStatus.SUCCEEDED for row in rows))
    with storing(database, blobs) as put:
        mirrored = mirrors.store(put)
        report_file = _stored_report(put, report, folder) if report is not None else None
        named = None if report is None or failed else chosen
        card = _card(database, blobs, put, named, report["verdict"], folder) if named is not None and report is not None else None
        with database.write() as session:
            job = claims.fenced(session, claim)
            card = None if job.status == JobStatus.CANCELLING else card
            claims.add_files(session, job, [*mirrored, *(file for file in (report_file, card) if file is not None)])
    with database.write() as session:  # only now: see Attempt
        job = claims.fenced(session, claim)
        job.report = report
        if job.status == JobStatus.CANCELLING:
            switch(session, job, JobStatus.CANCELLED, "cancelled by request; the report holds what there was")
        elif failed:
            switch(session, job, JobStatus.FAILED, error=_error(failed, len(rows)))
        else:
            _hand_out(session, job, claim, chosen, card)
            switch(session, job, JobStatus.SUCCEEDED, report["verdict"] if report else None)


def _result(row: Job) -> RunResult:
    arm, seed = row.arm or "model", row.seed or 0
    if row.status == JobStatus.SUCCEEDED:
        return RunResult(arm, seed, row.report)
    return RunResult(arm, seed, None, row.error["message"] if row.error else f"it ended {row.status}")


def _error(failed: list[Job], runs: int) -> ErrorBody:
    first = failed[0]
    why = f"{first.error['code']}: {first.error['message']}" if first.error else first.status
    more = f" {len(failed) - 1} more failed as well." if len(failed) > 1 else ""
    return ErrorBody(
        code=ErrorCode.RUN_FAILED,
        message=f"{len(failed)} of {runs} runs did not succeed: {first.arm}, seed {first.seed} ({first.id}): {why}{more}",
        hint="`potstill retry` repeats only those; the others' results are in the report.",
    )


def _stored_report(put: Put, report: Report, folder: Path) -> StoredFile:
    path = anew(folder / "report.json")
    path.write_text(json.dumps(report, indent=2) + "\n")
    sha256, size = put(path)
    return StoredFile("report.json", "report", sha256, size)


def _card(database: Database, blobs: Blobs, put: Put, chosen: Job, verdict: str, folder: Path) -> StoredFile | None:
    """The chosen student's card, with what all runs together showed in place of what its own did."""
    with database.read() as session:
        found = session.scalar(select(Artifact).where(Artifact.job_id == chosen.id, Artifact.path == CARD))
    if found is None or chosen.report is None:
        return None
    text = blobs.read(found.sha256).decode()
    path = anew(folder / "README.md")
    path.write_text(
        text.replace(chosen.report["verdict"], f"{verdict}\n\nThese files are of seed {chosen.seed}; its own figures are below.")
    )
    sha256, size = put(path)
    return StoredFile(CARD, "student", sha256, size)


def _hand_out(session: Session, job: Job, claim: Claim, chosen: Job | None, card: StoredFile | None) -> None:
    """The files of the chosen run's student, and a model made of them, in the parent's name."""
    if chosen is None:
        return
    rows = session.scalars(select(Artifact).where(Artifact.job_id == chosen.id, Artifact.kind == "student")).all()
    files = [StoredFile(f.path, f.kind, f.sha256, f.size_bytes) for f in rows if card is None or f.path != card.path]
    files += [card] if card is not None else []
    claims.add_files(session, job, files)
    made = session.get(Model, chosen.model_id) if chosen.model_id else None
    if made is not None:
        copied = {name: getattr(made, name) for name in ("task", "config", "parameters")}
        kept = {f.path.removeprefix("student/"): {"sha256": f.sha256, "size_bytes": f.size_bytes} for f in files}
        size = sum(f.size_bytes for f in files)
        model = Model(
            id=new_id("mdl"), project_id=job.project_id, name=claim.name, job_id=job.id, meta={}, files=kept, size_bytes=size, **copied
        )
        session.add(model)
        job.model_id = model.id
