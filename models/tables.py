"""Every table, imported in one place, so that `Base.metadata` is complete."""

from models.audit import AuditEvent
from models.base import Base
from models.browser import BrowserSession
from models.dataset import Dataset
from models.job import Event, Job, JobDependency
from models.project import Key, Project, RetiredSecret
from models.results import Artifact, Checkpoint, MetricPoint, MetricSpan, Model
from models.service import Compatibility, IdempotencyRecord, Worker
from models.sweep import Sweep, Trial
from models.webhook import Message, Webhook

__all__ = [
    "Artifact", "AuditEvent", "Base", "BrowserSession", "Checkpoint", "Compatibility", "Dataset", "Event", "IdempotencyRecord", "Job",
    "JobDependency", "Key", "Message", "MetricPoint", "MetricSpan", "Model", "Project", "RetiredSecret", "Sweep", "Trial", "Webhook",
    "Worker",
]  # fmt: skip
