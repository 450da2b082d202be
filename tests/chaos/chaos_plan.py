"""Which named point is to do harm, and when: a file that processes under test look at whenever they pass one.

`Plan(folder).arm("after-claim-commit")`: the n-th passage of that point in one process since then, in whatever process comes
first, fires, `times` times in all. Workers find the folder in CHAOS_PLAN.
"""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

UNLOCKED_POINTS = ["at-checkpoint", "at-finish"]  # before the transaction's first statement
COMMIT_POINTS = [f"{when}-{what}-commit" for what in ("claim", "checkpoint", "finish") for when in ("before", "after")]
TRAINER_POINTS = ["step", "forward", "checkpoint-file", "before-rename", "after-rename", "before-finished"]


class Armed(NamedTuple):
    token: str
    point: str
    nth: int
    times: int
    action: str  # kill, hold (the thread waits until the plan is disarmed) or starve (no more memory for the process)


class Plan:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, point: str, nth: int = 1, times: int = 1, action: str = "kill") -> None:
        assert point in UNLOCKED_POINTS + COMMIT_POINTS + TRAINER_POINTS, point
        temporary = self.folder / "armed.new"
        temporary.write_text(" ".join([secrets.token_hex(4), point, str(nth), str(times), action]))
        temporary.replace(self.folder / "armed")

    def disarm(self) -> None:
        (self.folder / "armed").unlink(missing_ok=True)

    def armed(self) -> Armed | None:
        try:
            token, point, nth, times, action = (self.folder / "armed").read_text().split()
        except FileNotFoundError:
            return None
        return Armed(token, point, int(nth), int(times), action)

    def fired(self) -> list[int]:
        """Process ids in which the plan has fired."""
        armed = self.armed()
        return [int(path.name.split("-")[3]) for path in self.folder.glob(f"fired-{armed.token}-*")] if armed else []

    def take(self, armed: Armed) -> bool:
        """Whether this process may fire; each number is drawn by one process only."""
        for number in range(armed.times):
            try:
                drawn = self.folder / f"drawn-{armed.token}-{number}"
                os.close(os.open(drawn, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            (self.folder / f"fired-{armed.token}-{number}-{os.getpid()}").touch()
            return True
        return False
