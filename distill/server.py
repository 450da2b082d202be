"""How the engine asks what is not on this machine. It knows no HTTP: whoever starts it brings somebody who does."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

Question = tuple[int, dict[str, Any]]  # its number, and what is asked, as JSON


class Server(Protocol):
    """Somebody who speaks to an endpoint. requests: sent so far, in all tries."""

    requests: int

    def ask(self, path: str, questions: Iterable[Question], hear: Callable[[int, Any], None], stop: Callable[[], bool]) -> bool:
        """Puts the questions, several at once, and gives the JSON of each answer to `hear` as it comes. False where `stop` said so before
        all had come. JobError where there is no answer to be had; TeacherRefused where that is what it says."""
        ...
