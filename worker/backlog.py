"""The trainer's news between its pipe and the database: a bounded number in memory, what is more in a file, none dropped."""

import threading
from collections import deque
from pathlib import Path
from typing import IO

from contract.events import RUN_EVENT, Outcome, RunEvent

IN_MEMORY = 1000


class Backlog:
    """A queue for one writer and one reader. `put` never waits for the database; it waits for room only when the disk that
    should take what memory does not is full as well, because then the alternative is to lose something."""

    def __init__(self, spill: Path, in_memory: int = IN_MEMORY) -> None:
        self._path, self._limit = spill, in_memory
        self._memory: deque[RunEvent] = deque()
        self._file: IO[bytes] | None = None
        self._in_file = self._read_to = self._written_to = 0  # lines, bytes, bytes
        self._changed = threading.Condition()
        self._ended = False
        self.outcome: Outcome | None = None  # the trainer's last word

    def __len__(self) -> int:
        with self._changed:
            return len(self._memory) + self._in_file

    def put(self, event: RunEvent) -> None:
        with self._changed:
            if isinstance(event, Outcome):
                self.outcome = event
            elif self._in_file == 0 and len(self._memory) < self._limit:
                self._memory.append(event)
            elif not self._spill(event):
                self._changed.wait_for(lambda: self._ended or (self._in_file == 0 and len(self._memory) < self._limit))
                self._memory.append(event)
            self._changed.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Until something happens, for a while; whether the trainer may still speak."""
        with self._changed:
            if not self._ended:
                self._changed.wait(seconds)
            return not self._ended

    def first(self, count: int) -> list[RunEvent]:
        """The oldest events, which stay until `drop` is called."""
        with self._changed:
            self._refill()
            return [self._memory[i] for i in range(min(count, len(self._memory)))]

    def drop(self, count: int) -> None:
        with self._changed:
            for _ in range(count):
                self._memory.popleft()
            self._refill()
            self._changed.notify_all()

    def _spill(self, event: RunEvent) -> bool:
        line = event.model_dump_json().encode() + b"\n"
        try:
            if self._file is None:
                self._file = self._path.open("w+b", buffering=0)
            self._file.seek(self._written_to)  # over what a full disk left of a line before
            if self._file.write(line) != len(line):
                return False
        except OSError:
            return False
        self._written_to += len(line)
        self._in_file += 1
        return True

    def _refill(self) -> None:
        if self._in_file == 0 or self._memory:
            return
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            while self._in_file and len(self._memory) < self._limit:
                line = file.readline()
                self._memory.append(RUN_EVENT.validate_json(line))
                self._read_to += len(line)
                self._in_file -= 1
        if self._in_file == 0 and self._file is not None:
            self._file.close()
            self._file = None
            self._path.unlink()
            self._read_to = self._written_to = 0
