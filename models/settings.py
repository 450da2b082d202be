"""Where the store lives. API and worker extend this; nothing is read at import."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StoreSettings(BaseSettings):
    """Read from the environment: `POTSTILL_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="POTSTILL_", extra="ignore")

    home: Path = Field(default=Path("~/.potstill"), description="Folder for the database, files and sockets of an embedded service.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in the home folder.")
    broker_url: str = Field(default="", description="Celery broker, redis://…; empty: files in the home folder.")
    artifacts_url: str = Field(default="", description="fsspec URL for uploaded and produced files; empty: the home folder.")
    uploads: Path | None = Field(
        default=None,
        description="Folder for uploads while they arrive; home/uploads when not said. On the disk of the artifacts they move by link.",
    )
    cache_bytes: int = Field(
        default=20_000_000_000, ge=0, description="Teacher outputs kept between jobs; those not used for longest go when it is more."
    )
    copies_bytes: int = Field(
        default=20_000_000_000, ge=0, description="With artifacts in an object store: copies of datasets and models near a worker."
    )
    shelf_bytes: int = Field(
        default=100_000_000_000, ge=0, description="With artifacts in an object store: teacher outputs there, for workers of other hosts."
    )
    teacher_endpoints: str = Field(
        default="",
        description="Endpoints of remote teachers that jobs may name, with commas between them: addresses, `https://api.example.com/v1` "
        "and what lies below, or hosts as in `webhook_hosts`, `gpu.internal:8000`. One named in full may be private and without TLS. "
        "Empty: none.",
    )
    audit_days: int = Field(default=365, ge=1, description="How long it is kept who did what; `GET /v1/audit` lists it.")
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, else one JSON line each."
    )

    def home_path(self) -> Path:
        return self.home.expanduser().resolve()

    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home_path() / 'potstill.db'}"

    def artifacts(self) -> str:
        return self.artifacts_url or (self.home_path() / "artifacts").as_uri()

    def uploads_path(self) -> Path:
        return (self.uploads or self.home_path() / "uploads").expanduser()

    def run_folder(self) -> Path:
        """Lock files of this host's workers."""
        return self.home_path() / "run"

    def work_folder(self) -> Path:
        """One folder for each attempt at a job."""
        return self.home_path() / "work"

    def cache_folder(self) -> Path:
        return self.home_path() / "cache" / "teacher-outputs"

    def copies_folder(self) -> Path:
        return self.home_path() / "cache" / "artifacts"

    def broker(self) -> tuple[str, dict[str, object]]:
        """Celery's broker URL and transport options. Without a server, messages are files: a doorbell, nothing more."""
        if self.broker_url:
            return self.broker_url, {}
        folder = self.home_path() / "doorbell"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return "filesystem://localhost/", {
            "data_folder_in": str(folder),
            "data_folder_out": str(folder),
            "control_folder": str(folder),
            "polling_interval": 0.05,
        }


DOORBELL_TASK = "potstill.look"  # the API rings Celery by this name; the worker answers by looking at the database
DOORBELL_QUEUE = "potstill"  # all workers'; each has one of its own too, `potstill.<worker id>`, to ring itself
