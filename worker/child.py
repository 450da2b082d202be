"""Where the processes of the fork server begin. A worker names these functions and loads nothing of what they load: torch stands once in
the memory of the fork server, and a worker starts in half the time."""

from multiprocessing.connection import Connection
from pathlib import Path


def train(order_json: str, events: Connection, control: Connection) -> None:
    from worker import trainer

    trainer.main(order_json, events, control)


def help_along(order_json: str) -> None:
    from worker import trainer

    trainer.help_along(order_json)


def measure(answer: Connection, folder: Path, threads: int, device: str | None) -> None:
    from worker import measure

    measure.main(answer, folder, threads, device)
