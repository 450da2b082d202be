"""A worker's hand without a worker: the same calls into models.claims, no training in between."""

import hashlib
import io
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from contract.errors import ErrorBody
from contract.model import ModelConfig
from contract.spec import JobSpec, ModelRef
from models import claims, lifecycle, points
from models.blobs import Blobs
from models.claims import Claim, StoredFile
from models.ids import new_id
from models.job import Job
from models.results import Model
from models.service import Worker
from models.session import Database

CLASSES = [str(i) for i in range(10)]


class Hand:
    def __init__(self, database: Database, blobs: Blobs) -> None:
        self.database = database
        self.blobs = blobs

    def claim(self, job_id: str) -> Claim:
        """Takes this very job, whatever else is waiting."""
        with self.database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(priority=1_000_000))
            claim = claims.claim(session, "wrk_test", 30)
            assert claim is not None and claim.job_id == job_id
            session.execute(update(Job).where(Job.id == job_id).values(priority=0))
        return claim

    def say(self, claim: Claim, message: str, type_: str = "log", **data: Any) -> None:
        with self.database.write() as session:
            lifecycle.add_event(session, claims.fenced(session, claim), type_, message, data=data)

    def points(self, claim: Claim, name: str, values: list[float], arm: str = "model", seed: int = 42) -> None:
        with self.database.write() as session:
            points.add(session, claim.job_id, arm, seed, {(name, i + 1): value for i, value in enumerate(values)})

    def stored(self, path: str, kind: str, content: bytes) -> StoredFile:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "file"
            source.write_bytes(content)
            sha256, size = self.blobs.put(source)
        return StoredFile(path, kind, sha256, size)

    def checkpoint(self, claim: Claim, step: int, files: dict[str, bytes] | None = None, dropped: tuple[int, ...] = ()) -> list[str]:
        content = files or {"model.safetensors": b"weights %d" % step, "state.json": b"{}"}
        stored = [self.stored(f"checkpoints/{step}/{name}", "checkpoint", data) for name, data in content.items()]
        with self.database.write() as session:
            return claims.add_checkpoint(session, claim, step, {"validation/accuracy": 0.5}, stored, dropped)

    def finish(self, claim: Claim, weights: bytes = b"the weights") -> dict[str, Any]:
        """Ends a run as the worker does: student files, then report, model and status in one transaction."""
        with self.database.read() as session:
            spec = JobSpec.model_validate(session.get_one(Job, claim.job_id).resolved_spec)
        files = {"model.safetensors": weights, "config.json": b"{}", "README.md": b"# card\n"} if spec.kind != "evaluate" else {}
        stored = [self.stored(f"student/{name}", "student", content) for name, content in files.items()]
        report = {"metric": "accuracy", "verdict": "One run: fine."}
        stored.append(self.stored("report.json", "report", json.dumps(report).encode()))
        model = None
        if files and not isinstance(spec.student, ModelRef):
            shape = [64] if spec.task == "tabular-classification" else [1, 8, 8]
            config = ModelConfig(**spec.student.model_dump(mode="json"), task=spec.task, shape=shape, classes=CLASSES)
            model = Model(
                id=new_id("mdl"),
                project_id=claim.project_id,
                name=claim.name,
                task=spec.task,
                job_id=claim.job_id,
                config=config.model_dump(mode="json"),
                files={
                    f.path.removeprefix("student/"): {"sha256": f.sha256, "size_bytes": f.size_bytes} for f in stored if f.kind == "student"
                },
                parameters=config.parameters,
                size_bytes=sum(f.size_bytes for f in stored if f.kind == "student"),
            )
        with self.database.write() as session:
            claims.add_files(session, claims.fenced(session, claim), stored)
        with self.database.write() as session:
            claims.finish(session, claim, report, model)
        return report

    def done(self, job_id: str, weights: bytes = b"the weights") -> None:
        self.finish(self.claim(job_id), weights)

    def fail(self, job_id: str) -> None:
        claim = self.claim(job_id)
        with self.database.write() as session:
            claims.fail(session, claim, ErrorBody(code="diverged", message="The loss became NaN.", hint="Lower the learning rate."))

    def report_in(self, worker_id: str = "wrk_test") -> None:
        with self.database.write() as session:
            session.add(Worker(id=worker_id, host="here", version="1", devices=["cpu"], slots=2))

    def artifacts(self, job_id: str) -> list[str]:
        from models.results import Artifact

        with self.database.read() as session:
            return list(session.scalars(select(Artifact.id).where(Artifact.job_id == job_id)))


def safetensors(tensors: dict[str, list[int]], dtype: str = "F32", size: int = 4) -> bytes:
    """A whole, right file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        count = 1
        for length in shape:
            count *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + count * size]}
        end += count * size
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + bytes(end)


def npz(**arrays: Any) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
