"""What docker-compose.yml starts, started here: its commands, environment and health checks as written, as plain processes on
real servers. Only hosts, ports and folders are others. The containers themselves are not tried: that needs Docker."""

import secrets
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import psutil
import psycopg
import pytest
from deploy_files import compose, dockerfile, environment, seconds
from psycopg import sql
from servers import free_port, until

from potstill import Client

FOLDER = "/var/lib/potstill"
ROWS = "a,b,label\n" + "".join(f"{i % 7},{i * 0.5},{'yes' if i % 2 else 'no'}\n" for i in range(60))
SHORT: dict[str, Any] = {
    "kind": "train",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits"},
    "student": {"arch": "mlp", "hidden": [8]},
    "training": {"epochs": 2},
}
ENDLESS = {**SHORT, "training": {"epochs": 100_000, "checkpoint_every_seconds": 600}}


class Deployment:
    """The services of the file, with a database server and a broker of the tests in the place of its own."""

    def __init__(self, folder: Path, postgres_url: str, redis_url: str) -> None:
        self.folder, self.port = folder, free_port()
        self.secrets = {"POSTGRES_PASSWORD": secrets.token_hex(24), "POTSTILL_KEY": "psk_" + secrets.token_hex(24)}
        self.services: dict[str, Any] = compose(self.secrets)["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self.port}"
        self._postgres, self._redis = postgres_url, redis_url
        # As Postgres' image does at its first start.
        self.administer("CREATE ROLE {user} LOGIN PASSWORD {password}", "CREATE DATABASE {name} OWNER {user}")

    def administer(self, *statements: str) -> None:
        wanted = self.services["postgres"]["environment"]
        user, name = (sql.Identifier(wanted[variable]) for variable in ("POSTGRES_USER", "POSTGRES_DB"))
        with psycopg.connect(self._postgres, autocommit=True) as admin:
            for statement in statements:
                admin.execute(sql.SQL(statement).format(user=user, name=name, password=sql.Literal(wanted["POSTGRES_PASSWORD"])))

    def environment(self, name: str) -> dict[str, str]:
        """The image's and the service's, and nothing of this process."""
        service = self.services[name]
        image = environment(dockerfile()[1], service["build"]["target"])
        found = image | {key: value.replace(FOLDER, str(self.folder)) for key, value in service["environment"].items()}
        found["POTSTILL_DATABASE_URL"] = self._elsewhere(found["POTSTILL_DATABASE_URL"], "postgres:5432", self._postgres)
        found["POTSTILL_BROKER_URL"] = self._elsewhere(found["POTSTILL_BROKER_URL"], "redis:6379", self._redis)
        found["PATH"] = found["PATH"].replace("/opt/venv/bin", str(Path(sys.executable).parent)).replace("$PATH", "/usr/bin:/bin")
        return found | {"HOME": str(self.folder / "home"), "POTSTILL_PORT": str(self.port), "POTSTILL_PROBE": "false"}

    def _elsewhere(self, url: str, place: str, server: str) -> str:
        """The same user, password and database on another server, which may listen on a socket in a folder."""
        parts, there = urlsplit(url), urlsplit(server)
        credentials, _, host = parts.netloc.rpartition("@")
        assert host == place
        socket = parse_qs(there.query).get("host")
        netloc = f"{credentials}@" if socket else f"{credentials}{'@' if credentials else ''}{there.hostname}:{there.port}"
        return urlunsplit((parts.scheme, netloc, parts.path, there.query, ""))

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            program, *arguments = self.services[name]["command"]
            command = [str(Path(sys.executable).parent / program), *arguments]
            process = subprocess.Popen(command, env=self.environment(name), stdout=log, stderr=log, cwd=self.folder)
        self.running[name] = process
        return process

    def healthy(self, name: str) -> bool:
        """The service's own check, as Docker runs it."""
        check = self.services[name]["healthcheck"]
        kind, program, *arguments = check["test"]
        assert (kind, program) == ("CMD", "python")
        arguments = [argument.replace(":8400/", f":{self.port}/") for argument in arguments]
        command, patience = [sys.executable, *arguments], seconds(check["timeout"])
        try:
            return subprocess.run(command, env=self.environment(name), capture_output=True, timeout=patience, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def until_healthy(self, name: str) -> None:
        try:
            until(lambda: self.healthy(name), seconds=90, what=name)
        except TimeoutError:
            raise TimeoutError(self.said(name)) from None

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self, name: str) -> int:
        """As `docker compose stop` does: SIGTERM, and patience up to the service's stop_grace_period."""
        self.running[name].send_signal(signal.SIGTERM)
        return self.running[name].wait(seconds(self.services[name]["stop_grace_period"]))


@pytest.fixture
def deployment(tmp_path: Path, postgres_server: str, redis_server: str) -> Iterator[Deployment]:
    for folder in ("home", "store"):
        (tmp_path / folder).mkdir()
    found = Deployment(tmp_path, postgres_server, redis_server)
    try:
        yield found
    finally:
        for process in found.running.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        found.administer("DROP DATABASE {name} WITH (FORCE)", "DROP ROLE {user}")


def test_deploy_services_of_compose_run_a_job_and_leave_when_asked(deployment: Deployment) -> None:
    for _ in range(2):  # it runs at every `up`
        assert deployment.start("migrate").wait(60) == 0, deployment.said("migrate")
    assert not deployment.healthy("api") and not deployment.healthy("worker")
    deployment.start("api")
    deployment.until_healthy("api")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{deployment.url}/v1/jobs")
    with urllib.request.urlopen(f"{deployment.url}/readyz") as answer:
        assert b'"broker":"ok"' in answer.read().replace(b" ", b"")
    deployment.start("worker")
    deployment.until_healthy("worker")

    with Client(url=deployment.url, key=deployment.secrets["POTSTILL_KEY"]) as client:
        (deployment.folder / "rows.csv").write_text(ROWS)
        dataset = client.datasets.upload(deployment.folder / "rows.csv")
        (blob,) = (path for path in (deployment.folder / "store" / "blobs").rglob("*") if path.is_file())
        assert blob.name == dataset.sha256 and blob.read_text() == ROWS
        assert (deployment.folder / "store" / "uploads").is_dir()

        job = client.jobs.submit(SHORT)
        job.wait(timeout=120)
        request = urllib.request.Request(f"{deployment.url}/v1/jobs/{job.id}/student")
        request.add_header("Authorization", f"Bearer {deployment.secrets['POTSTILL_KEY']}")
        with urllib.request.urlopen(request) as answer, tarfile.open(fileobj=answer, mode="r|") as tar:
            files = {Path(member.name).name: member.size for member in tar}
        assert {"model.safetensors", "config.json", "README.md"} <= files.keys() and files["model.safetensors"] > 64 * 8 * 4

        running = client.jobs.submit(ENDLESS)
        until(lambda: (client.jobs.get(running.id).view.progress.step or 0) > 100, seconds=60, what="some steps")
        family = psutil.Process(deployment.running["worker"].pid).children(recursive=True)
        assert deployment.stop("worker") == 0, deployment.said("worker")
        until(lambda: not any(process.is_running() for process in family), seconds=5, what="an end of the worker's family")
        assert client.jobs.get(running.id).status == "queued"
        assert list(client.jobs.checkpoints(running.id)), "given back with a checkpoint"
        assert not deployment.healthy("worker")
    assert deployment.stop("api") == 0, deployment.said("api")
    assert not deployment.healthy("api")
    assert not list((deployment.folder / "home" / "work").glob("*/*")), "no folder of an attempt is left"
