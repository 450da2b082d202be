"""What the API process can be told from outside."""

from pydantic import Field

from models.settings import StoreSettings

MIB = 1 << 20


class Settings(StoreSettings):
    """Read from the environment: `POTSTILL_<FIELD>`."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; anything but a loopback one puts /metrics behind a key.")
    port: int = Field(default=8400, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_body_bytes: int = Field(default=MIB, ge=1024, description="Largest JSON or YAML body.")
    max_upload_bytes: int = Field(default=2048 * MIB, ge=1024, description="Largest multipart body: a dataset or a model.")
    shutdown_seconds: int = Field(default=3, ge=0, description="How long running requests may take once the process was asked to stop.")
    stream_poll_seconds: float = Field(default=0.2, gt=0, le=5, description="How often the database is asked for news of streamed jobs.")
    keepalive_seconds: float = Field(default=10, gt=0, description="Longest silence on an event stream; then a comment is sent.")
    broker_timeout_seconds: float = Field(
        default=0.5, gt=0, description="Longest wait for the broker when ringing; workers look by themselves too."
    )
    database_timeout_seconds: float = Field(default=2, gt=0, description="Longest wait for the database in /readyz.")

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")
