"""`submit` and `validate`: from a file to a queued job."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from potstill.cli import watch as watching
from potstill.cli.chain import tell_chain, tell_plan
from potstill.cli.options import Json, Seconds, connect
from potstill.cli.output import compact, emit, line, note, plain
from potstill.cli.told import complaints

if TYPE_CHECKING:
    from contract.wire import JobView, ValidateView

Specs = Annotated[list[str], typer.Argument(metavar="SPEC", help="YAML or JSON files; - reads standard input.")]


def submit(
    specs: Specs,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the jobs to their end.")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="Queue all or none; specs may refer to each other as @name.")] = False,
    timeout: Seconds = None,
    as_json: Json = False,
) -> None:
    """Queue jobs. Prints their ids; with --watch follows them and ends with their exit code."""
    mappings = [read(spec) for spec in specs]  # all are read before one is sent
    with connect() as client:
        told: set[str] = set()
        if not batch and not as_json:
            verdicts = [client.jobs.validate(mapping) for mapping in mappings]
            if len(mappings) > 1 and not all(found.valid for found in verdicts):
                for spec, found in zip(specs, verdicts, strict=True):
                    if not found.valid:
                        line("✗", "invalid", spec)
                        complaints(found)
                note("nothing was queued")
                raise typer.Exit(1)
            for found in verdicts:
                for warning in found.warnings:
                    line("!", "warning", warning)
                told |= set(found.warnings)
                if watch:
                    _quote(found)
                _forecast(found)
        queued = client.jobs.submit_batch(mappings) if batch else (client.jobs.submit(mapping) for mapping in mappings)
        jobs = []
        for job in queued:
            jobs.append(job)
            _announce(job.view, told, watch=watch, as_json=as_json)
            if not (watch or as_json):
                tell_chain(job)
        if watch:
            codes = [watching.to_the_end(job, timeout=timeout, as_json=as_json) for job in jobs]
            raise typer.Exit(next((code for code in codes if code), 0))
        if not as_json:
            note(f"next: potstill watch {jobs[-1].id}")


def validate(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML or JSON file; - reads standard input.")], as_json: Json = False
) -> None:
    """Check a spec without queueing anything, and say what it would take: networks, rows, steps, time, memory, disk. With --json also
    every default. Exit code 1 if it is not valid."""
    mapping = read(spec)
    with connect() as client:
        found = client.jobs.validate(mapping)
    if as_json:
        emit(found)
    else:
        _verdict("standard input" if spec == "-" else spec, found)
    if not found.valid:
        raise typer.Exit(1)


def _verdict(spec: str, found: "ValidateView") -> None:
    complaints(found)
    if found.valid:
        line("✓", "valid", spec, stderr=False)
        _quote(found)
        _forecast(found, whole=True)


def _forecast(found: "ValidateView", *, whole: bool = False) -> None:
    """How long it takes, on the workers there are; whole: what else it needs, and what these figures are not."""
    from contract.machine import Estimate

    if not found.valid or not isinstance(found.estimate, Estimate):
        return
    if found.estimate.takes and (whole or found.estimate.seconds is not None):
        line("·", "takes", found.estimate.takes)
    if whole:
        if found.estimate.needs:
            line("·", "needs", found.estimate.needs)
        for remark in found.estimate.notes:
            line("·", "note", remark)


def _quote(found: "ValidateView") -> None:
    """What a valid spec comes to: `digits · 1,437 rows · teacher 2.4 k → student 0.6 k parameters`. Nothing for an invalid one."""
    if not found.valid or found.estimate is None or found.resolved_spec is None:
        return
    train = found.resolved_spec.get("data", {}).get("train", {})
    data = ", ".join(train["tasks"]) if train.get("tasks") else train.get("dataset")
    estimate = plain(found.estimate)
    networks = estimate.get("parameters", {})
    sizes = " → ".join(f"{name} {compact(networks[name])}" for name in ("teacher", "student") if networks.get(name) is not None)
    rows, steps = estimate.get("train_rows"), estimate.get("steps")
    said = [data, f"{rows:,} rows" if rows else "", f"{sizes} parameters" if sizes else "", f"{steps:,} steps" if steps else ""]
    line("✓", "validated", " · ".join(filter(None, said)))
    if found.jobs_before:
        tell_plan(found.jobs_before, found.resolved_spec)


def read(spec: str) -> dict[str, Any]:
    from potstill.specs import load, parse  # and with it every loss there is

    if spec != "-":
        return load(spec)
    raw = sys.stdin.buffer.read()
    looks_like_json = raw.lstrip()[:1] in (b"{", b"[")  # JSON gets JSON's error messages
    return parse(raw, "standard input", "application/json" if looks_like_json else "application/yaml")


def _announce(job: "JobView", told: set[str], *, watch: bool, as_json: bool) -> None:
    if as_json:
        emit(job, stream=True)
        return
    line("✓", job.status, " · ".join(filter(None, [job.id, job.name, job.status_reason])))
    for warning in job.warnings:
        if warning not in told:
            line("!", "warning", warning)
    if not (watch and sys.stdout.isatty()):  # for `ID=$(potstill submit …)`; a watcher has just read it above
        print(job.id, flush=True)
