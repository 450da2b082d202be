"""Every table, imported in one place, so that `Base.metadata` is complete."""

from models.base import Base
from models.dataset import Dataset
from models.job import Event, Job, JobDependency
from models.project import Key, Project
from models.results import Artifact, Checkpoint, MetricPoint, Model
from models.service import IdempotencyRecord, Worker

__all__ = [
    "Artifact", "Base", "Checkpoint", "Dataset", "Event", "IdempotencyRecord", "Job", "JobDependency", "Key", "MetricPoint", "Model",
    "Project", "Worker",
]  # fmt: skip
