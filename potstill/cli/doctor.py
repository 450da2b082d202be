"""`doctor`: is everything in order between here and the service?"""

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

import typer

import potstill
from potstill import settings
from potstill.cli.options import Json, connect
from potstill.cli.output import emit, line, size
from potstill.errors import PotstillError, Unauthorized

if TYPE_CHECKING:
    from contract.wire import WorkerView
    from potstill.client import Client

ROOM = 1_000_000_000  # bytes free; below it a run of any size may end early


class Check(NamedTuple):
    name: str
    ok: bool
    detail: str
    hint: str | None = None
    code: int = 1  # the exit code when this is what is wrong; 0 where it only deserves a word


def doctor(as_json: Json = False) -> None:
    """Look whether address, key, service and this machine are in order."""
    checks = [*_here(), *_service()]
    for check in checks:
        if as_json:
            emit({**check._asdict(), "code": None if check.ok else check.code}, stream=True)
        else:
            mark = "✓" if check.ok else "✗" if check.code else "!"
            line(mark, check.name, check.detail, hint=None if check.ok else check.hint, stderr=False)
    raise typer.Exit(next((check.code for check in checks if not check.ok and check.code), 0))


def _here() -> Iterator[Check]:
    yield Check(
        "client", True, f"potstill {potstill.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )
    try:
        yield Check("torch", True, version("torch"))
    except PackageNotFoundError:
        yield Check("torch", False, "not installed: jobs cannot run on this machine", "pip install 'potstill[worker]'", code=0)
    home = settings.home()
    free = shutil.disk_usage(next(folder for folder in (home, *home.absolute().parents) if folder.exists())).free
    yield Check("disk", free > ROOM, f"{size(free)} free for {home}", "Free some space, or set POTSTILL_HOME to a larger disk.", code=0)
    key_file = settings.key_file()
    if key_file.exists():
        private = key_file.stat().st_mode & 0o077 == 0
        yield Check("key file", private, f"{key_file}{'' if private else ' can be read by others'}", f"chmod 600 {key_file}", code=0)


def _service() -> Iterator[Check]:
    """Each question makes sense only after the one before: the first wrong answer ends them."""
    try:
        with connect() as client:
            with client.transport.stream("/livez"):
                yield Check("address", True, client.url)
            ready = client.transport.call("GET", "/readyz").get("checks", {})
            yield Check("service", True, _versions(client))
            broker = ready.get("broker", "ok")
            yield Check("broker", broker == "ok", broker, "Jobs start a second later; see POTSTILL_BROKER_URL.", code=0)
            client.jobs.page(limit=1)
            yield Check("key", True, "accepted")
            alive = [worker for worker in client.workers.list() if worker.alive]
            slots = sum(worker.slots for worker in alive)
            yield Check(
                "workers",
                bool(alive),
                f"{len(alive)} alive, {slots} slot{'s' * (slots != 1)}",
                "Jobs wait until one starts: potstill worker",
                code=0,
            )
            if alive:
                machines = _machine(alive)
                hint = "Once idle for a few seconds a worker measures its machine, unless POTSTILL_PROBE is off."
                yield Check("estimates", machines is not None, machines or "no worker has measured its machine yet", hint, code=0)
            trouble = ready.get("workers", "ok")
            if alive and trouble != "ok":
                yield Check("workers", False, trouble, code=0)
    except Unauthorized as error:
        yield Check("key", False, error.detail, error.hint, code=4)
    except PotstillError as error:
        yield Check("service", False, error.detail, error.hint)


def _machine(alive: "list[WorkerView]") -> str | None:
    """The machines on which times are estimated."""
    found = [worker.machine for worker in alive if worker.machine is not None]
    said = [f"{one.processor if one.device == 'cpu' else one.device}, {one.flops / 1e9:,.0f} GFLOP/s in fp32" for one in found]
    return "; ".join(dict.fromkeys(said)) or None


def _versions(client: "Client") -> str:
    info = client.transport.call("GET", "/openapi.json").get("info", {})
    return f"ready, {info.get('title', 'service')} {info.get('version', '')}".strip()
