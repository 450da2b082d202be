"""What an attempt needs, fetched from the store into its folder: datasets, trained models, checkpoints to go on from."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.errors import ErrorCode, JobError
from contract.model import belongs
from contract.registry import BUILTINS
from contract.spec import JobSpec, ModelRef, RemoteTeacher
from models.blobs import Blobs, DamagedError
from models.claims import Claim
from models.dataset import Dataset
from models.job import Job
from models.results import Artifact, Checkpoint, Model
from models.session import Database
from worker.order import Order
from worker.settings import Settings

CANDIDATES = 3  # checkpoints tried, newest first
Files = dict[str, str]  # file name → sha256


def gather(database: Database, blobs: Blobs, claim: Claim, folder: Path, settings: Settings, device: str | None) -> Order:
    """The trainer's order, its files in place. JobError when something it refers to is gone."""
    spec = JobSpec.model_validate(claim.spec)
    with database.read() as session:
        datasets = {ref: _dataset(session, claim, ref, field) for field, ref in _dataset_refs(spec).items()}
        stored = {field: ref for field, ref in spec.refs().items() if ref.hub is None}  # the engine fetches what the Hub has
        models = {field: _model(session, claim, field, ref) for field, ref in stored.items()}
        checkpoints = _checkpoints(session, claim.job_id) or _of_retried(session, claim)
    order = Order(
        spec=spec,
        attempt=f"{claim.job_id}/{claim.attempt}",
        workdir=folder,
        cache=settings.cache_folder(),
        shelf=settings.artifacts() if blobs.local is None else "",
        datasets={},
        models={},
        resume_from=[],
        threads=settings.threads(),
        device=device,
        silence_seconds=settings.kill_after,
        access=settings.access(spec.teacher) if isinstance(spec.teacher, RemoteTeacher) else None,
    )
    for ref, dataset in datasets.items():
        order.datasets[ref] = (folder / "datasets" / ref, f"data.{dataset.format}")
        _fetch(blobs, {ref: dataset.sha256}, folder / "datasets", f"the file of {ref}", "Upload it again: the same bytes repair it.")
    for field, files in models.items():
        order.models[field] = folder / "models" / field
        hint = "Upload it again: the same bytes repair it." if spec.refs()[field].model else "Train it again, or name another model."
        _fetch(blobs, files, order.models[field], f"the model of {field}", hint)
    for step, files in checkpoints:
        target = folder / "resume" / str(step)
        missing = _first_missing(blobs, files, target)
        if missing is None:
            order.resume_from.append(target)
        else:
            order.notes.append(f"checkpoint not used: {missing} of step {step:,} is missing from the artifact store")
    return order


def _dataset_refs(spec: JobSpec) -> dict[str, str]:
    return {field: source.dataset for field, source in spec.sources().items() if source.dataset and source.dataset not in BUILTINS}


def _dataset(session: Session, claim: Claim, ref: str, field: str) -> Dataset:
    dataset = session.get(Dataset, ref)
    if dataset is None or dataset.project_id != claim.project_id:
        raise JobError(f"{field}: the dataset {ref} was deleted.", code=ErrorCode.DATASET_NOT_FOUND, param=field, hint="Upload it again.")
    return dataset


def _model(session: Session, claim: Claim, field: str, ref: ModelRef) -> Files:
    model_id = ref.model
    if ref.job is not None:
        job = session.get(Job, ref.job)
        model_id = job.model_id if job is not None else None
    model = session.get(Model, model_id) if model_id else None
    if model is None or model.project_id != claim.project_id:
        raise JobError(
            f"{field}: the model of {ref.job or ref.model} was deleted.",
            code=ErrorCode.DEPENDENCY_FAILED,
            param=field,
            hint="Name another model, or train it again.",
        )
    return {name: file["sha256"] for name, file in model.files.items() if belongs(name)}  # what it was exported to is not read


def _checkpoints(session: Session, job_id: str) -> list[tuple[int, Files]]:
    rows = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()).limit(CANDIDATES)).all()
    found = []
    for row in rows:
        prefix = f"checkpoints/{row.step}/"
        files = session.scalars(select(Artifact).where(Artifact.job_id == job_id, Artifact.path.startswith(prefix, autoescape=True)))
        found.append((row.step, {file.path.removeprefix(prefix): file.sha256 for file in files}))
    return found


def _of_retried(session: Session, claim: Claim) -> list[tuple[int, Files]]:
    """A retry goes on where the job it repeats stopped, or the one before that."""
    before = claim.retry_of
    while before is not None:
        found = _checkpoints(session, before)
        if found:
            return found
        job = session.get(Job, before)
        before = job.retry_of if job is not None and not job.retry_fresh else None
    return []


def _first_missing(blobs: Blobs, files: Files, folder: Path) -> str | None:
    """Fetches a checkpoint; the file that is not there. Damage is for the engine to find: it goes back to an older one."""
    for name, sha256 in files.items():
        try:
            blobs.fetch(sha256, folder / name, verify=False)
        except FileNotFoundError:
            return name
    return None


def _fetch(blobs: Blobs, files: Files, folder: Path, what: str, hint: str) -> None:
    for name, sha256 in files.items():
        try:
            blobs.fetch(sha256, folder / name)
        except FileNotFoundError:
            raise JobError(f"{what} is missing from the artifact store ({name}).", code=ErrorCode.INTERNAL_ERROR, hint=hint) from None
        except DamagedError as error:
            damage = f"{what} in the artifact store is damaged ({name}: {error})."
            raise JobError(damage, code=ErrorCode.INTERNAL_ERROR, hint=hint) from None
