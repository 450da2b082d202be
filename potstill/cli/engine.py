"""`run`: the engine on this machine alone. The same code that a worker runs, without service, database or queue."""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potstill import settings
from potstill.cli.options import Json
from potstill.cli.output import emit, line, note
from potstill.cli.report import well
from potstill.cli.submit import read

if TYPE_CHECKING:
    from contract.events import Outcome, RunEvent
    from contract.evidence import RunResult
    from contract.spec import JobSpec
    from contract.wire import JobView
    from datafiles import DataFile
    from distill.inputs import Inputs
    from distill.ranks import Ranks


def run(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML or JSON file; - reads standard input.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where student, report and checkpoints go.")],
    as_json: Json = False,
) -> None:
    """Run a spec here. Ctrl-C leaves a checkpoint in FOLDER; the same command goes on from it. With `resources.devices` above 1 it runs on
    so many devices of this machine; torchrun starts it on those of several, which then share FOLDER."""
    from distill.ranks import as_started

    with as_started() as ranks:
        if ranks.rank:
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - the first rank speaks for all, until the end
        if spec == "-" and ranks.world > 1:
            from contract.errors import PotstillError

            raise PotstillError("Of several processes only one has standard input.", hint="Give them a file.")
        _run(read(spec), out, as_json, ranks)


def _run(sent: "dict[str, Any]", out: Path, as_json: bool, ranks: "Ranks") -> None:
    from contract.chains import links
    from contract.check import parse_spec
    from contract.errors import PotstillError
    from contract.evidence import RunResult

    *before, job = links(parse_spec(sent))
    if ranks.told((out / "report.json").exists()):
        raise PotstillError(f"{out} holds a finished run already.", hint="Choose another folder for --out.")
    if job.report_to:
        note("report_to: only workers of a service mirror runs; here it is left out")
    stop = threading.Event()
    for number in (signal.SIGINT, *([signal.SIGTERM] if ranks.world > 1 else [])):  # torchrun passes Ctrl-C on as the second
        signal.signal(number, lambda number, _frame: _leave(stop, number))
    made: dict[str, Path] = {}
    for link in before:
        made[f"@{link.name}"] = out / "before" / str(link.name) / "student"
        if ranks.told(not _done(made[f"@{link.name}"].parent, link)):
            if not as_json:
                line("·", "run", f"{link.name} ({len(made)} of {len(before)} before the one asked for)")
            _one(_found(link, made), made[f"@{link.name}"].parent, _inputs(_found(link, made), None), stop, as_json, ranks)
    results: list[RunResult] = []
    asked, runs = job.runs(), _found(job, made).runs()
    files: dict[str, DataFile] | None = {} if len(runs) > 1 else None
    for as_sent, run_ in zip(asked, runs, strict=True):
        folder = out if len(runs) == 1 else out / "runs" / f"{run_.arm}-{run_.seed}"
        if ranks.told(not _done(folder, as_sent.spec)):
            if len(runs) > 1 and not as_json:
                line("·", "run", f"{run_.arm}, seed {run_.seed} ({len(results) + 1} of {len(runs)})")
            _one(run_.spec, folder, _inputs(run_.spec, files), stop, as_json, ranks)
        if ranks.rank:
            continue
        results.append(RunResult(run_.arm, run_.seed, json.loads((folder / "report.json").read_text())))
    if not ranks.rank:
        _conclude(out, results, as_json)


def _done(folder: Path, job: "JobSpec") -> bool:
    """Whether that run is there already. Runs of one job are put together in the end, so another spec's must not be among them."""
    from contract.errors import PotstillError
    from distill.loop import asked

    kept, digest = folder / ".spec", sha256(asked(job).encode()).hexdigest()
    if (folder / "report.json").exists():
        if kept.exists() and kept.read_text() != digest:
            raise PotstillError(f"{folder} holds a finished run of another spec.", hint="Choose another folder for --out.")
        return True
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(digest)
    return False


def _found(job: "JobSpec", made: dict[str, Path]) -> "JobSpec":
    """With the networks of the jobs before it where they lie."""
    from contract.refs import ModelRef

    return job.with_refs({field: ModelRef(path=str(made[ref.job])) for field, ref in job.refs().items() if ref.job in made})


def _inputs(job: "JobSpec", files: "dict[str, DataFile] | None") -> "Inputs":
    """files: those that runs before it have read."""
    from dataclasses import replace

    from contract.spec import RemoteTeacher
    from distill.inputs import Inputs

    found = replace(Inputs.local(job, settings.home() / "cache" / "teacher-outputs"), read=files)
    if not isinstance(job.teacher, RemoteTeacher):
        return found
    from outward.endpoint import speaker
    from worker.settings import Settings

    return replace(found, server=speaker(Settings().access(job.teacher)))


def _one(job: "JobSpec", folder: Path, inputs: "Inputs", stop: threading.Event, as_json: bool, ranks: "Ranks") -> None:
    """One run into `folder`; goes on from its checkpoints, leaves one when stopped."""
    from contract.events import CheckpointSaved, Finished

    folder.mkdir(parents=True, exist_ok=True)
    with _Screen(job, as_json or ranks.rank > 0) as screen:

        def heard(event: "RunEvent") -> None:
            if isinstance(event, CheckpointSaved):
                for step in event.dropped:
                    shutil.rmtree(folder / "checkpoints" / str(step), ignore_errors=True)
            screen.show(event)

        with _no_job_to_resume():
            outcome = _trained(job, folder, inputs, stop, heard, ranks)
    if ranks.rank and not stop.is_set():
        return
    if not isinstance(outcome, Finished):
        line("!", "stopped", f"checkpoint in {folder / 'checkpoints'}; the same command goes on from it")
        raise typer.Exit(130)
    made = Path(outcome.folder)
    if (made / "student").exists():
        shutil.rmtree(folder / "student", ignore_errors=True)  # of an attempt that was killed between these two moves
        shutil.move(made / "student", folder / "student")
    shutil.move(made / "report.json", folder / "report.json")  # last: it says that the run is complete
    made.rmdir()


def _trained(
    job: "JobSpec", folder: Path, inputs: "Inputs", stop: threading.Event, heard: "Callable[[RunEvent], None]", ranks: "Ranks"
) -> "Outcome":
    """By this process, which may be one of torchrun's, or by one for each device that the job asks for."""
    from contract.errors import ErrorCode, JobError, PotstillError
    from contract.events import Failed
    from distill.launch import gpus, launched, share_cores
    from distill.ranks import deserted
    from distill.train import run as run_engine

    resume, count = _checkpoints(folder), job.resources.devices
    if count == 1 or ranks.world > 1:
        try:
            return run_engine(job, folder, heard, stop.is_set, inputs=inputs, resume_from=resume, ranks=ranks)
        except RuntimeError as error:
            if ranks.world == 1 or not deserted(error):
                raise
            hint = "Its own output says why. The same commands go on from the last checkpoint."
            raise JobError("Another process of this training has ended.", code=ErrorCode.INTERNAL_ERROR, hint=hint) from error

    def work(ranks: "Ranks", emit: "Callable[[RunEvent], None]", should_stop: "Callable[[], bool]") -> "Outcome":
        log = os.open(folder / "ranks.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # libraries have much to say of all this
        os.dup2(log, 2)
        share_cores(ranks)
        try:
            return run_engine(job, folder, emit, should_stop, inputs=inputs, resume_from=resume, ranks=ranks)
        except PotstillError as error:
            return Failed(error=error.body())

    outcome = launched(count, gpus(count), heard, stop.is_set, work)
    if isinstance(outcome, Failed):
        raise JobError(outcome.error.message, code=outcome.error.code, hint=outcome.error.hint)
    return outcome


@contextlib.contextmanager
def _no_job_to_resume() -> Iterator[None]:
    """A full disk's hint, as it is for a run without a service."""
    from contract.errors import ErrorCode, JobError

    try:
        yield
    except JobError as error:
        if error.code == ErrorCode.DISK_FULL:
            error.hint = "Free some space, then run the same command: it goes on from the last good checkpoint."
        raise


def _conclude(out: Path, results: "list[RunResult]", as_json: bool) -> None:
    """Of several runs: their common report, and the best one's student at the top."""
    from contract import evidence
    from distill import disk

    if len(results) > 1:
        best = out / "runs" / f"{results[0].arm}-{evidence.best_seed(results)}" / "student"
        with _no_job_to_resume(), disk.writing("The best student", out / "student", sum(p.stat().st_size for p in best.iterdir())):
            shutil.copytree(best, out / "student", dirs_exist_ok=True)
        half = out / ".report.json"  # the whole one says that all is done, so it must not be seen half written
        half.write_text(json.dumps(evidence.combine(results), indent=2) + "\n")
        half.rename(out / "report.json")
    report = json.loads((out / "report.json").read_text())
    if as_json:
        emit(report, stream=True)
        return
    well("finished", report)
    line(" ", "", " · ".join(str(out / name) for name in ("student", "report.json") if (out / name).exists()))


def _leave(stop: threading.Event, number: int) -> None:
    stop.set()
    signal.signal(number, signal.default_int_handler)  # a second Ctrl-C means now


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
