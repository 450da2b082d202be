"""Examples for /openapi.json: one small project, a teacher and its student on digits, seen through every operation."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from api.changes import JobChanges
from api.codes import ARTIFACT, DATASET, JOB, KEY, MODEL, REQUEST, SWEEP, TEACHER, WEBHOOK
from api.routes import health, registry
from contract.check import parse_spec
from contract.column import Column
from contract.registry import TASKS, Hinton, Kl, Mlp
from contract.schema import DIALECT, DISTILL, HOME, TRAIN
from contract.schema import SWEEP as SWEEP_SPEC
from contract.scope import Scope
from contract.status import JobStatus, Phase
from contract.wire import (
    ArtifactView,
    AuditView,
    CheckpointView,
    DatasetView,
    DeliveryView,
    EventView,
    FreedView,
    JobView,
    KeyView,
    LoginLinkView,
    MetricsView,
    ModelView,
    PreviewView,
    Progress,
    Series,
    SplitView,
    SweepView,
    TrialView,
    TryView,
    ValidateView,
    WebhookView,
    WorkerJob,
    WorkerView,
    rfc3339,
)  # fmt: skip

BEGAN = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
WORKER = "wrk_0198f2c01a2b7c3d8e4f5a6b7c8d9e0f"
HOOK = "https://hooks.example.com/potstill"
MESSAGE = "msg_0198f2c9c7d6e5f4a3b2c1d0e9f8a7b6"
DEED = "aud_0198f2c9d5c4b3a29180f7e6d5c4b3a2"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CARD = DISTILL["metadata"]


def _arm(accuracy: float, interval: list[float], parameters: int) -> dict[str, Any]:
    return {"metrics": {"accuracy": {"mean": accuracy, "std": 0.0, "ci95": interval, "values": [accuracy]}}, "parameters": parameters}


REPORT: dict[str, Any] = {
    "metric": "accuracy",
    "higher_is_better": True,
    "split": "test",
    "rows": 360,
    "arms": {"teacher": _arm(0.9722, [0.9496, 0.9848], 50826), "student": _arm(0.9278, [0.8962, 0.9503], 2410)},
    "verdict": "One run: student accuracy 0.9278 = 95.4 % of the teacher's 0.9722, 21.1× smaller. Without a control arm it cannot be told "
    "what the teacher added.",
}
VALIDATED = {"parameters": {"student": 2410, "teacher": 50826}, "train_rows": 400, "validation_rows": 0, "test_rows": 360, "steps": 280}


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def _queued() -> JobView:
    return JobView(
        id=JOB,
        kind="distill",
        name="digits-student",
        status=JobStatus.QUEUED,
        priority=0,
        spec=DISTILL,
        resolved_spec=parse_spec(DISTILL).resolved().model_dump(mode="json"),
        depends_on=[TEACHER],
        attempt=0,
        created_at=after(0),
        queued_at=after(0),
        progress=Progress(),
        latest={},
        warnings=[],
        metadata=CARD,
    )


def jobs() -> dict[str, JobView]:
    """The job as it goes on, by the name of the example."""
    queued = _queued()
    halfway = Progress(phase=Phase.TRAINING, step=140, total_steps=280, epoch=20, steps_per_second=910.0, eta_seconds=0.2)
    running = queued.model_copy(
        update={"status": JobStatus.RUNNING, "attempt": 1, "started_at": after(1), "progress": halfway, "latest": {"train/loss": 0.412}}
    )
    ended = Progress(step=280, total_steps=280, epoch=40)
    done = {"status": JobStatus.SUCCEEDED, "finished_at": after(2), "progress": ended, "report": REPORT, "model": MODEL}
    return {
        "job.queued": queued,
        "job.pausing": running.model_copy(update={"status": JobStatus.PAUSING, "status_reason": "paused by request"}),
        "job.cancelling": running.model_copy(update={"status": JobStatus.CANCELLING, "status_reason": "cancelled by request"}),
        "job.retried": queued.model_copy(update={"id": JOB[:-1] + "5", "retry_of": JOB}),
        "JobView": running.model_copy(update=done),
    }


def answers() -> dict[str, BaseModel]:
    """What operations answer, by the name of the schema; a job in another state by a name of its own."""
    found: list[BaseModel] = [
        EventView(
            seq=12,
            type="metrics",
            message="step 140 of 280",
            data={"step": 140, "total_steps": 280, "epoch": 20, "metrics": {"train/loss": 0.412}},
            created_at=after(1.5),
        ),
        MetricsView(data=[Series(name="train/loss", arm="student", seed=42, points=[(140, 0.412, rfc3339(after(1.5)))], total_points=1)]),
        CheckpointView(
            step=140, arm="student", seed=42, metrics={"train/loss": 0.412}, size_bytes=30120, artifacts=[ARTIFACT], created_at=after(1.5)
        ),
        ArtifactView(id=ARTIFACT, path="student/model.safetensors", kind="student", size_bytes=9976, sha256=SHA256, created_at=after(2)),
        DatasetView(
            id=DATASET,
            name="reviews.csv",
            format="csv",
            sha256=SHA256,
            size_bytes=52,
            splits={"train": SplitView(rows=2)},
            columns=[Column(name="text", type="string", shape=[]), Column(name="label", type="string", shape=[])],
            classes=["bad", "good"],
            created_at=after(0),
            metadata=CARD,
        ),
        PreviewView(split="train", columns=["text", "label"], rows=[["a lovely film", "good"], ["two hours lost", "bad"]]),
        ModelView(
            id=MODEL,
            name="digits-student",
            task="image-classification",
            job=JOB,
            config={"arch": "mlp", "hidden": [32], "task": "image-classification", "shape": [8, 8], "classes": [str(i) for i in range(10)]},
            parameters=2410,
            size_bytes=9976,
            created_at=after(2),
            metadata={},
        ),
        KeyView(
            id=KEY,
            name="nightly",
            prefix="psk_3f9a",
            project="default",
            scopes=[Scope.READ, Scope.SUBMIT],
            created_at=after(0),
            last_used_at=after(1),
            metadata=CARD,
        ),
        WebhookView(id=WEBHOOK, url=HOOK, events=["job.succeeded", "job.failed"], enabled=True, created_at=after(0), metadata=CARD),
        DeliveryView(
            id=MESSAGE,
            webhook=WEBHOOK,
            type="job.succeeded",
            subject=JOB,
            status="delivered",
            tries=[TryView(at=rfc3339(after(2.2)), duration_seconds=0.041, status_code=204)],
            next_try_at=None,
            created_at=after(2),
        ),
        AuditView(
            id=DEED,
            action="job.deleted",
            key=KEY,
            subject=JOB,
            data={"name": "digits-student"},
            request_id=REQUEST,
            address="127.0.0.1",
            created_at=after(60),
        ),
        LoginLinkView(path="/login?once=Zk3vQ0c9dX1mB7sT4uR8yW2n", expires_in_seconds=600.0),
        WorkerView(
            id=WORKER,
            host="bench-1",
            version="0.1.0",
            devices=["cpu"],
            slots=2,
            running=[WorkerJob(job=JOB, attempt=1)],
            last_heartbeat_at=after(2),
            alive=True,
        ),
        ValidateView(
            valid=True, errors=[], warnings=[], resolved_spec=parse_spec(DISTILL).resolved().model_dump(mode="json"), estimate=VALIDATED
        ),
        FreedView(freed_bytes=40096, files=6),
        _sweep(),
        registry.RecipeEntry.model_validate(Hinton.entry()),
        registry.ChoiceEntry.model_validate(Kl.entry()),
        registry.TaskEntry(**TASKS["image-classification"].entry(), datasets=["digits"]),
        health.Live(),
        health.Ready(checks={"database": "ok", "migrations": "ok", "broker": "ok", "workers": "ok"}),
    ]
    architecture = registry.ChoiceEntry.model_validate(Mlp.entry())
    created = next(view for view in found if isinstance(view, KeyView)).model_copy(update={"secret": "psk_3f9a…"})
    signing = next(view for view in found if isinstance(view, WebhookView)).model_copy(update={"secret": "whsec_MfKQ…"})
    more = {"architecture": architecture, "key.created": created, "webhook.created": signing}
    return {**{type(view).__name__: view for view in found}, **jobs(), **more}


def _sweep() -> SweepView:
    best = TrialView(
        number=3, job=JOB, values={"training.optimizer.lr": 0.00274}, status=JobStatus.SUCCEEDED, value=0.9792, test=0.9722,
        parameters=50826, seconds=2.1,
    )  # fmt: skip
    return SweepView(
        id=SWEEP,
        name="learning-rate",
        status="running",
        spec=SWEEP_SPEC,
        metric="accuracy",
        higher_is_better=True,
        planned=12,
        counts={"succeeded": 1, "queued": 11},
        trials=[best],
        best=3,
        frontier=[3],
        created_at=after(0),
        metadata={},
    )


# Operations whose answer is another example than that of its schema.
ANSWERS = {
    "submit_job": "job.queued", "submit_batch": "job.queued", "cancel_job": "job.cancelling", "pause_job": "job.pausing",
    "resume_job": "job.queued", "retry_job": "job.retried", "list_architectures": "architecture", "create_key": "key.created",
    "rotate_key": "key.created",
    "create_webhook": "webhook.created", "rotate_webhook": "webhook.created",
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "submit_job": {"train": TRAIN, "distill": DISTILL},
    "submit_batch": {"teacher and student": {"jobs": [TRAIN, DISTILL | {"teacher": {"job": "@digits-teacher"}}]}},
    "validate_job": {"distill": DISTILL},
    "update_job": {"rename": JobChanges(name="digits-student-2", priority=5, metadata=CARD).model_dump(mode="json")},
    "submit_sweep": {"learning rate": SWEEP_SPEC},
    "validate_sweep": {"learning rate": SWEEP_SPEC},
    "create_key": {"key": {"name": "nightly", "scopes": ["read", "submit"], "expires_in_seconds": 7_776_000, "metadata": CARD}},
    "rotate_key": {"at once": {"grace_seconds": 0}},
    "create_webhook": {"endings": {"url": HOOK, "events": ["job.succeeded", "job.failed"], "metadata": CARD}},
    "update_webhook": {"pause": {"enabled": False}},
    "upload_dataset": {
        "csv": {"file": "text,label\na lovely film,good\ntwo hours lost,bad\n", "name": "reviews.csv", "metadata": json.dumps(CARD)}
    },
    "upload_model": {"student": {"file": ["(model.safetensors)", "(config.json)"], "name": "digits-student"}},
}
# Answers that no schema of ours describes.
OTHERS: dict[str, Any] = {
    "get_job_schema": {"$schema": DIALECT, "$id": f"{HOME}job.json", "title": "JobSpec", "type": "object"},
    "get_sweep_schema": {"$schema": DIALECT, "$id": f"{HOME}sweep.json", "title": "SweepSpec", "type": "object"},
    "stream_events": 'event: metrics\nid: 12\ndata: {"seq": 12, "type": "metrics", "message": "step 140 of 280", …}\n\n',
    "get_service_metrics": "# TYPE potstill_queue_depth gauge\npotstill_queue_depth 3.0\n",
}
PATHS = {
    "job_id": JOB, "dataset_id": DATASET, "model_id": MODEL, "artifact_id": ARTIFACT, "sweep_id": SWEEP, "key_id": KEY,
    "webhook_id": WEBHOOK,
}  # fmt: skip
