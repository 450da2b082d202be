"""Sweeps and their trials: what was asked, which values were chosen, which job tries them."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, ForeignKey, Index, String, Text, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column, object_session, relationship

from contract.frontier import Point, frontier, verdict
from contract.status import JobStatus
from contract.sweep import SweepSpec, label
from contract.wire import SweepView, TrialView
from models.base import Base, Json, now
from models.job import Job, Origin

LOWER_IS_BETTER = ("loss", "perplexity")


class Sweep(Base):
    __tablename__ = "sweeps"
    __table_args__ = (Index("ix_sweeps_project", "project_id", "id"), Index("ix_sweeps_open", "finished_at", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(100))
    status: Mapped[Literal["running", "cancelling", "succeeded", "failed", "cancelled"]] = mapped_column(String(16), default="running")
    # As sent, and in its order, which JSONB would not keep: the trials of a grid are numbered by it.
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    metric: Mapped[str] = mapped_column(String(16))
    planned: Mapped[int]
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)  # its summary, once it has ended
    traceparent: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now())
    finished_at: Mapped[datetime | None]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    request_id: Mapped[str | None] = mapped_column(String(128))

    trials: Mapped[list["Trial"]] = relationship(order_by="Trial.number", cascade="all, delete-orphan", passive_deletes=True)

    @property
    def asked(self) -> SweepSpec:
        return SweepSpec.model_validate(self.spec)

    @property
    def origin(self) -> Origin:
        return Origin(self.request_id, self.traceparent)

    @property
    def higher_is_better(self) -> bool:
        return self.metric not in LOWER_IS_BETTER

    def jobs(self) -> dict[str, Job]:
        """Those that are still there, by id."""
        query = select(Job).where(Job.sweep_id == self.id).execution_options(populate_existing=True)  # as they are now
        return {job.id: job for job in self._session.scalars(query)}

    @property
    def _session(self) -> Session:
        session = object_session(self)
        assert session is not None
        return session

    def summary(self, trials: list[TrialView], jobs: Iterable[Job]) -> dict[str, Any]:
        """What the trials come to: counts, the best, the frontier, passes of the teacher and a sentence."""
        points = [Point(t.number, t.value, t.parameters) for t in trials if t.status == "succeeded" and t.value is not None]
        sign = 1.0 if self.higher_is_better else -1.0
        best = max(points, key=lambda point: (sign * point.value, -(point.parameters or 0), -point.number), default=None)
        chosen = next((trial for trial in trials if best is not None and trial.number == best.number), None)
        outputs = [(job.report or {}).get("teacher_outputs") or {} for job in jobs]
        asked = [made for made in outputs if made.get("mode") == "cached"]
        passes = [made.get("passes", made.get("share", float(made["cache"] == "built"))) for made in asked]
        return {
            "counts": dict(Counter(str(trial.status) for trial in trials)),
            "best": best.number if best is not None else None,
            "frontier": frontier(points, self.higher_is_better),
            "teacher_passes": round(sum(passes)) if passes else None,
            "verdict": verdict(chosen, label(chosen.values), self.metric, trials) if chosen is not None else None,
        }

    def view(self, *, whole: bool = True) -> SweepView:
        """Of one that has ended the summary is that of its end, whatever became of its jobs."""
        summary, trials = self.result, None
        if whole:
            jobs = self.jobs()
            trials = [trial.view(jobs.get(trial.job_id or ""), self.metric) for trial in self.trials]
            summary = summary or self.summary(trials, jobs.values())
        return SweepView(
            id=self.id,
            name=self.name,
            status=self.status,
            spec=self.spec,
            metric=self.metric,
            higher_is_better=self.higher_is_better,
            planned=self.planned,
            trials=trials,
            created_at=self.created_at,
            finished_at=self.finished_at,
            metadata=self.meta,
            **(summary or {"counts": self._counts()}),
        )

    def _counts(self) -> dict[str, int]:
        query = select(Job.status, func.count()).where(Job.sweep_id == self.id).group_by(Job.status)
        return {str(status): count for status, count in self._session.execute(query)}


class Trial(Base):
    """One choice of values. `rungs` holds what a halving sweep has seen of it: epochs → the metric then."""

    __tablename__ = "trials"

    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str | None] = mapped_column(String(40), index=True)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)
    rungs: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    stopped: Mapped[int | None]  # after so many epochs, as a loser
    error: Mapped[str | None] = mapped_column(Text)

    def value(self, job: Job | None, metric: str) -> float | None:
        """What the search goes by: the metric on the validation rows; of a trial stopped early, what it was then."""
        report = (job.report or {}) if job is not None else {}
        if self.stopped is not None and not report:
            return self.rungs.get(str(self.stopped))
        return (report.get("validation") or {}).get(metric)

    def view(self, job: Job | None, metric: str) -> TrialView:
        report = (job.report or {}) if job is not None else {}
        arm = report.get("arms", {}).get("student") or report.get("arms", {}).get("model") or {}
        judged = arm.get("metrics", {}).get(report.get("metric"))
        error = self.error or (job.error["message"] if job is not None and job.error else None)
        if job is None and error is None:
            error = "its job was deleted"
        ran = (job.finished_at - job.started_at).total_seconds() if job is not None and job.started_at and job.finished_at else None
        return TrialView(
            number=self.number,
            job=job.id if job is not None else None,
            values=self.values,
            status=JobStatus(job.status) if job is not None else JobStatus.FAILED,
            value=self.value(job, metric),
            stopped_after_epoch=self.stopped if job is None or job.status != JobStatus.SUCCEEDED else None,  # it was faster
            test=judged["mean"] if judged else None,
            parameters=arm.get("parameters"),
            seconds=ran,
            error=error,
        )
