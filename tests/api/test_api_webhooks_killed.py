"""An API process that is killed after a message went out and before that was written down: the message comes again, as it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import sqlalchemy as sa
from receiver import receiving
from servers import until
from store_world import World
from test_api_process import PROGRAM

from models.base import now
from models.webhook import Message, Webhook, new_secret


class Processes:
    """API processes on one database that may send to this receiver."""

    def __init__(self, url: str, home: Path, hosts: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("POTSTILL_")}
        ours = {"POTSTILL_HOME": str(home), "POTSTILL_PORT": "0", "POTSTILL_DATABASE_URL": url, "POTSTILL_WEBHOOK_HOSTS": hosts}
        self.environment, self.home = {**clean, **ours}, home
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.running.append(started)
        assert started.stdout is not None and started.stdout.readline().startswith("http")
        return started

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


def message(world: World) -> Message:
    with world.database.read() as session:
        return session.scalars(sa.select(Message)).one()


def test_killed_between_sending_and_noting_it_is_sent_again_under_its_id(world: World, tmp_path: Path) -> None:
    with receiving() as receiver:
        processes = Processes(world.url, tmp_path, receiver.host)
        with world.database.write() as session:
            session.add(
                Webhook(id="whk_1", project_id=world.project_id, url=receiver.url("/hang"), events=["job.cancelled"], secret=new_secret())
            )
        try:
            first = processes.start()
            job_id = world.submit()
            world.cancel(job_id)
            until(lambda: receiver.received)  # it was sent, and waits for an answer
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            left = message(world)
            assert left.status == "pending" and left.due_at is not None and "duration_seconds" not in left.tries[0]
            with world.database.write() as session:
                session.execute(sa.update(Webhook).values(url=receiver.url("/ok")))
                session.execute(sa.update(Message).values(due_at=now()))  # its minute is over
            processes.start(), processes.start()
            until(lambda: message(world).status == "delivered")
            time.sleep(2.5)  # both have looked again
        finally:
            processes.stop()
        sent, again = receiver.received
        assert (sent.headers["webhook-id"], sent.body) == (again.headers["webhook-id"], again.body)
        assert [one.get("status_code") for one in message(world).tries] == [None, 200]


def test_several_processes_share_the_messages_and_send_each_once(world: World, tmp_path: Path) -> None:
    with receiving() as receiver:
        processes = Processes(world.url, tmp_path, receiver.host)
        with world.database.write() as session:
            session.add(Webhook(id="whk_1", project_id=world.project_id, url=receiver.url(), events=["job.cancelled"], secret=new_secret()))
        for _ in range(60):
            world.cancel(world.submit())
        try:
            processes.start(), processes.start()
            until(lambda: len(receiver.received) >= 60)
            time.sleep(2)
        finally:
            processes.stop()
        assert len({one.headers["webhook-id"] for one in receiver.received}) == len(receiver.received) == 60
