"""Answers that were paid for, kept one by one until all of them can be: a process that is killed loses none that has come in."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from distill import disk


class Answer(NamedTuple):
    """What was made of an answer, and the tokens it cost: of the question, and of what was written."""

    value: Any
    prompt_tokens: int
    completion_tokens: int


class Journal:
    """One line of JSON for each answer, by its question's number. Whoever holds the lock of the outputs it is for may open it."""

    def __init__(self, path: Path) -> None:
        self.path, self.answers = path, dict[int, Answer]()
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if (found := _read(line)) is None:  # torn by a crash: it was the last one
                    break
                self.answers[found[0]] = found[1]
                whole += len(line)
            os.truncate(path, whole)

    def add(self, number: int, answer: Answer) -> None:
        """On disk when it returns. JobError where the disk is full: what goes on after that would be paid for and lost."""
        line = json.dumps([number, *answer]).encode() + b"\n"
        with disk.appending("An answer of the teacher", self.path, len(line)), self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.answers[number] = answer

    def close(self) -> None:
        """What it held is kept elsewhere."""
        self.path.unlink(missing_ok=True)


def _read(line: bytes) -> tuple[int, Answer] | None:
    try:
        number, value, prompt, completion = json.loads(line)
    except ValueError:
        return None
    return (number, Answer(value, prompt, completion)) if line.endswith(b"\n") else None
