"""`run`: the engine on this machine alone. The same code that a worker runs, without service, database or queue."""

import shutil
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from potstill import settings
from potstill.cli.options import Json
from potstill.cli.output import emit, line
from potstill.specs import load

if TYPE_CHECKING:
    from contract.events import RunEvent
    from contract.spec import JobSpec
    from contract.wire import JobView


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML or JSON file.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where student, report and checkpoints go.")],
    as_json: Json = False,
) -> None:
    """Run a spec here. Ctrl-C leaves a checkpoint in FOLDER; the same command goes on from it."""
    from contract.check import parse_spec
    from contract.errors import PotstillError
    from contract.events import Finished
    from distill.inputs import Inputs
    from distill.train import run as run_engine

    job = parse_spec(load(spec))
    if (out / "report.json").exists():
        raise PotstillError(f"{out} holds a finished run already.", hint="Choose another folder for --out.")
    out.mkdir(parents=True, exist_ok=True)
    inputs = Inputs.local(job, settings.home() / "cache" / "teacher-outputs")
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda _number, _frame: _leave(stop, _frame))
    with _Screen(job, as_json) as screen:
        outcome = run_engine(job, out, screen.show, stop.is_set, inputs=inputs, resume_from=_checkpoints(out))
    if not isinstance(outcome, Finished):
        line("!", "stopped", f"checkpoint in {out / 'checkpoints'}; the same command goes on from it")
        raise typer.Exit(130)
    for path in Path(outcome.folder).iterdir():
        shutil.move(path, out / path.name)
    Path(outcome.folder).rmdir()
    if as_json:
        emit(outcome.report, stream=True)
        return
    line("✓", "finished", outcome.report["verdict"], stderr=False)
    line(" ", "", f"{out / 'student'} · {out / 'report.json'}" if outcome.model else str(out / "report.json"))


def _leave(stop: threading.Event, _frame: FrameType | None) -> None:
    stop.set()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C means now


def _checkpoints(out: Path) -> list[Path]:
    folders = [path for path in (out / "checkpoints").glob("*") if path.name.isdigit()]
    return sorted(folders, key=lambda path: int(path.name), reverse=True)


class _Screen:
    """The same display as `watch`, fed by the engine itself."""

    def __init__(self, job: "JobSpec", as_json: bool) -> None:
        from potstill.cli.watch import screen_for

        self.screen = None if as_json else screen_for(_as_view(job))
        self.seq = 0

    def __enter__(self) -> "_Screen":
        if self.screen is not None:
            self.screen.__enter__()
        return self

    def __exit__(self, *about: object) -> None:
        if self.screen is not None:
            self.screen.__exit__(None, None, None)

    def show(self, event: "RunEvent") -> None:
        from contract.events import news
        from contract.wire import EventView

        told = news(event)
        if told is None:
            return
        self.seq += 1
        view = EventView.model_validate({**told._asdict(), "seq": self.seq, "created_at": datetime.now(UTC)})
        if self.screen is None:
            emit(view, stream=True)
        else:
            self.screen.show(view)


def _as_view(job: "JobSpec") -> "JobView":
    """A job as a watcher would see it just after it started."""
    from contract.status import JobStatus
    from contract.wire import JobView, Progress

    dumped = job.resolved().model_dump(mode="json")
    return JobView(
        id="job_" + "0" * 32,
        kind=job.kind,
        name=job.name or job.kind,
        status=JobStatus.RUNNING,
        priority=0,
        spec=dumped,
        resolved_spec=dumped,
        depends_on=[],
        attempt=1,
        created_at=datetime.now(UTC),
        progress=Progress(),
        latest={},
        warnings=[],
        metadata={},
    )
