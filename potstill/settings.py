"""Where the service is and which key opens it: arguments first, then the environment, then what `potstill up` left."""

import os
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8400"


def home() -> Path:
    """`POTSTILL_HOME`, by default ~/.potstill: the folder of the embedded service."""
    return Path(os.environ.get("POTSTILL_HOME") or "~/.potstill").expanduser()


def url() -> str:
    return os.environ.get("POTSTILL_URL") or DEFAULT_URL


def key_file() -> Path:
    return home() / "key"


def key() -> str | None:
    """`POTSTILL_KEY`, or the key that `potstill up` wrote; None when there is neither."""
    if given := os.environ.get("POTSTILL_KEY"):
        return given.strip()
    try:
        return key_file().read_text("utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
