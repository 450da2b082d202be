"""What the API process can be told from outside."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from models.settings import StoreSettings
from outward.judge import patterns

MIB = 1 << 20


class Settings(StoreSettings):
    """Read from the environment: `POTSTILL_<FIELD>`."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; anything but a loopback one puts /metrics behind a key.")
    allowed_hosts: str = Field(
        default="",
        description="Names that requests may use for the service, besides loopback ones and `host`; commas between them. A proxy's, say.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; commas between them.",
    )
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
    download_link_seconds: int = Field(
        default=0,
        ge=0,
        le=7 * 24 * 3600,
        description="With artifacts in an object store: downloads are sent on to it, by a signed address that is good for so long. 0: "
        "bytes come through the API.",
    )
    webhook_hosts: str = Field(
        default="*",
        description="Hosts that webhooks may go to, with commas between them. `*`: every public one, `*.example.com`: those below a name; "
        "both by https alone. `hooks.internal:8443`: this host and port, also private and by http (443 or 80 when no port is said). "
        "Empty: none.",
    )

    @field_validator("webhook_hosts")
    @classmethod
    def _hosts(cls, written: str) -> str:
        patterns(written)
        return written

    @field_validator("teacher_endpoints")
    @classmethod
    def _endpoints(cls, written: str) -> str:
        patterns(written, addresses=True)
        return written

    quota_queued_jobs: int | None = Field(default=None, ge=0, description="Jobs of one project that may wait; without it any number.")
    quota_bytes: int | None = Field(
        default=None, ge=0, description="Bytes of datasets, models and jobs' files that one project may keep; without it any number."
    )
    rate_limit_per_minute: int = Field(default=12_000, ge=0, description="Requests with one key; 0: any number.")
    failed_logins_per_minute: int = Field(default=100, ge=0, description="Attempts with wrong keys from one address; 0: any number.")

    def own_hosts(self) -> frozenset[str]:
        """Names alone; who writes an address with scheme and port means its name."""
        places = (urlsplit(f"//{given.strip().rpartition('://')[2]}") for given in self.allowed_hosts.split(","))
        return frozenset(place.hostname for place in places if place.hostname)

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")
