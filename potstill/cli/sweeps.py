"""`sweeps`: add, validate, ls, show, watch, cancel, rm."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.options import Json, Seconds, connect
from potstill.cli.output import age, compact, duration, emit, line, note, table
from potstill.cli.submit import read
from potstill.cli.told import complaints, deleted

if TYPE_CHECKING:
    from contract.wire import SweepView, TrialView
    from potstill.client import Client

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Try many jobs that differ in a few fields.")
SweepId = Annotated[str, typer.Argument(metavar="ID", help="A sweep's id, swp_….")]
SweepFile = Annotated[str, typer.Argument(metavar="SWEEP", help="A YAML or JSON file; - reads standard input.")]
BAR = 24


@app.command()
def add(
    sweep: SweepFile,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    timeout: Seconds = None,
    as_json: Json = False,
) -> None:
    """Queue a sweep. Prints its id; with --watch follows it and ends with its exit code."""
    mapping = read(sweep)
    with connect() as client:
        found = client.sweeps.submit(mapping)
        if as_json and not watch:
            emit(found)
            return
        if not as_json:
            line("✓", "queued", f"{found.id} · {found.name} · {_planned(found)}")
            if not (watch and sys.stdout.isatty()):  # for `ID=$(potstill sweeps add …)`
                print(found.id, flush=True)
        if watch:
            raise typer.Exit(_to_the_end(client, found.id, timeout, as_json))
        note(f"next: potstill sweeps watch {found.id}")


@app.command()
def validate(sweep: SweepFile, as_json: Json = False) -> None:
    """Check a sweep without queueing anything. Exit code 1 if it is not valid."""
    mapping = read(sweep)
    with connect() as client:
        found = client.sweeps.validate(mapping)
    if as_json:
        emit(found)
    else:
        complaints(found)
        if found.valid and isinstance(found.estimate, dict):
            steps = f" · {found.estimate['steps']:,} steps" if found.estimate["steps"] else ""
            line("✓", "valid", f"{found.estimate['trials']:,} trials{steps}", stderr=False)
    if not found.valid:
        raise typer.Exit(1)


@app.command()
def ls(as_json: Json = False) -> None:
    """List sweeps, newest first."""
    with connect() as client:
        found = list(client.sweeps.list())
    if as_json:
        emit(found)
    elif found:
        rows = [(s.id, s.name, s.status, _counted(s), age(s.created_at)) for s in found]
        table(["ID", "NAME", "STATUS", "TRIALS", "CREATED"], rows)
    else:
        note("no sweeps yet; `potstill sweeps add SWEEP` queues one")


@app.command()
def show(sweep: SweepId, as_json: Json = False) -> None:
    """Show a sweep's trials, the best first, and those worth their size."""
    with connect() as client:
        found = client.sweeps.get(sweep)
    if as_json:
        emit(found)
    else:
        _show(found)


@app.command()
def watch(sweep: SweepId, timeout: Seconds = None, as_json: Json = False) -> None:
    """Follow a sweep to its end: exit code 0 if it succeeded, 5 failed, 6 cancelled. Ctrl-C detaches; the sweep goes on."""
    with connect() as client:
        raise typer.Exit(_to_the_end(client, sweep, timeout, as_json))


@app.command()
def cancel(sweep: SweepId, as_json: Json = False) -> None:
    """Try nothing more and stop what runs; what has succeeded stays."""
    with connect() as client:
        found = client.sweeps.cancel(sweep)
    if as_json:
        emit(found)
    else:
        line("✓", found.status, found.id)


@app.command()
def rm(
    sweep: SweepId,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what this would free.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a sweep that has ended, with its jobs and their files."""
    with connect() as client:
        deleted(sweep, client.sweeps.delete(sweep, dry_run=dry_run), as_json=as_json)


def _to_the_end(client: "Client", sweep_id: str, timeout: float | None, as_json: bool) -> int:
    told: set[int] = set()
    found: SweepView | None = None
    try:
        for found in client.sweeps.watch(sweep_id, timeout):
            if as_json:
                emit(found, stream=True)
                continue
            for trial in found.trials or []:
                if trial.status.final and trial.number not in told:
                    told.add(trial.number)
                    line(_mark(trial), f"trial {trial.number}", _told(trial, found, len(told)))
    except KeyboardInterrupt:
        note(f"detached; the sweep goes on — potstill sweeps watch {sweep_id}")
        raise typer.Exit(130) from None
    assert found is not None
    if not as_json:
        _show(found)
    return {"succeeded": 0, "cancelled": 6}.get(found.status, 5)


def _mark(trial: "TrialView") -> str:
    return "✓" if trial.status == "succeeded" else "!" if trial.stopped_after_epoch is not None else "✗"


def _told(trial: "TrialView", sweep: "SweepView", ended: int) -> str:
    values = " ".join(f"{field.rsplit('.', 1)[-1]}={_written(value)}" for field, value in trial.values.items())
    figure = f"validation {sweep.metric} {trial.value:.4f}" if trial.value is not None else trial.error or str(trial.status)
    when = f", stopped after epoch {trial.stopped_after_epoch}" if trial.stopped_after_epoch is not None else ""
    return f"{values} · {figure}{when} · {ended} of {sweep.planned}"


def _show(sweep: "SweepView") -> None:
    trials = sweep.trials or []
    sign = -1.0 if sweep.higher_is_better else 1.0
    trials = sorted(trials, key=lambda t: (t.status != "succeeded", sign * t.value if t.value is not None else float("inf"), t.number))
    fields = list(dict.fromkeys(field for trial in trials for field in trial.values))
    arrow = "↑" if sweep.higher_is_better else "↓"
    headers = [
        "TRIAL",
        *(field.rsplit(".", 1)[-1] for field in fields),
        "STATUS",
        f"{sweep.metric} {arrow}",
        "test",
        "PARAMETERS",
        "TIME",
        "JOB",
    ]
    table(headers, [_row(trial, fields) for trial in trials])
    if len(sweep.frontier) > 1:
        print()
        _frontier(sweep, {trial.number: trial for trial in trials})
    print()
    if sweep.verdict:
        line("✓" if sweep.status == "succeeded" else "!", str(sweep.status), sweep.verdict, stderr=False)
    passes = f" · the teacher was asked for all rows {_times(sweep.teacher_passes)}" if sweep.teacher_passes is not None else ""
    note(f"{_counted(sweep)}{passes}")
    best = next((trial for trial in trials if trial.number == sweep.best), None)
    if best is not None and best.job is not None and sweep.finished_at is not None:
        note(f"next: potstill pull {best.job} ./student")


def _row(trial: "TrialView", fields: list[str]) -> list[object]:
    status = f"stopped at {trial.stopped_after_epoch}" if trial.stopped_after_epoch is not None else str(trial.status)
    figures = [f"{value:.4f}" if value is not None else "–" for value in (trial.value, trial.test)]
    count = compact(trial.parameters) if trial.parameters is not None else "–"
    seconds = duration(trial.seconds) if trial.seconds is not None else "–"
    return [str(trial.number), *(_written(trial.values.get(f)) for f in fields), status, *figures, count, seconds, trial.job or "–"]


def _written(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _frontier(sweep: "SweepView", trials: "dict[int, TrialView]") -> None:
    """Bars from the worst of the frontier to its best: what each step in size buys."""
    print(f"worth their size (no other trial is both smaller and better in validation {sweep.metric}):")
    found = [trials[number] for number in sweep.frontier]
    values = [trial.value or 0.0 for trial in found]
    low, high = min(values), max(values)
    for trial, value in zip(found, values, strict=True):
        share = abs(value - values[0]) / (high - low) if high > low else 1.0
        bar = "━" * max(1, round(BAR * share))
        print(f"  trial {trial.number:<4} {compact(trial.parameters or 0):>7} parameters  {value:.4f}  {bar}")


def _counted(sweep: "SweepView") -> str:
    return ", ".join(f"{count} {status}" for status, count in sweep.counts.items()) + f" of {sweep.planned}"


def _planned(sweep: "SweepView") -> str:
    return f"{sweep.planned} trials"


def _times(count: int) -> str:
    return {0: "never: its answers were kept", 1: "once"}.get(count, f"{count} times")
