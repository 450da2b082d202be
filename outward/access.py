"""What an operator grants to whoever asks remote teachers: which endpoints, with which key, and how hard."""

from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from outward.judge import Outward

SETTING = "POTSTILL_TEACHER_ENDPOINTS"


def judge(allowed: str) -> Outward:
    """Of the endpoints of remote teachers: `allowed` holds hosts, and addresses below which endpoints lie."""
    return Outward(allowed, setting=SETTING, addresses=True)


class Access(BaseModel):
    """For one endpoint. The key is in nobody's log or repr."""

    allowed: str
    key: str = Field(default="", repr=False)
    concurrency: int
    timeout_seconds: float
    patience_seconds: float


def key_for(keys: dict[str, str], endpoint: str) -> str:
    """The key of the longest address that the endpoint lies below; else of its host and port, or of its host."""
    below = [address for address in keys if f"{endpoint}/".startswith(f"{address.rstrip('/')}/")]
    place = urlsplit(endpoint)
    names = [*sorted(below, key=len, reverse=True), place.netloc.lower(), place.hostname or ""]
    return next((keys[name] for name in names if name in keys), "")
