"""What was asked, answered, seen and broken, as JSON lines: what the checker holds against the database afterwards."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class History:
    """Append-only; each entry is on disk before the call returns. Kinds of entries and their fields:

    submission  job, status (of the answer), key (Idempotency-Key, if any): the service said it has the job
    request     job, what (pause, resume, cancel, retry …), status: the answer to something else that was asked
    observed    job, status, attempt: what the service said of a job when it changed
    fault       what, and whatever names its target: what was broken, or mended
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def note(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"at": time.time(), "kind": kind, **fields}) + "\n"
        with self._lock, self.path.open("a") as file:
            file.write(line)

    def entries(self, *kinds: str) -> Iterator[Entry]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                entry: Entry = json.loads(line)
                if not kinds or entry["kind"] in kinds:
                    yield entry
