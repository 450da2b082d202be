"""`demo`: the whole path on data that need no download, as a user would walk it: service up, teacher, student, files, predictions."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contract.errors import PotstillError
from potstill.cli.embedded import CLI
from potstill.cli.output import line, note

if TYPE_CHECKING:
    from potstill.client import Client
    from potstill.job import Job

SECONDS = 1800.0  # for each job, on a slow machine
SEEDS = {"control": True, "seeds": 5}  # the same student alone beside it, five times each: was the teacher worth it?
TEACHER: dict[str, Any] = {
    "kind": "train",
    "name": "digits-teacher",
    "task": "image-classification",
    "data": {"train": "digits", "validation": 0.1, "test": "digits"},
    "student": {"arch": "mlp", "hidden": [256, 128], "dropout": 0.2},
    "training": {"epochs": 40, "optimizer": {"lr": 2e-3}},
}
STUDENT: dict[str, Any] = {  # it sees 400 images only: the teacher's soft targets tell it what the missing ones would have
    "kind": "distill",
    "name": "digits-student",
    "task": "image-classification",
    "data": {"train": "digits", "test": "digits", "max_train_samples": 400},
    "student": {"arch": "mlp", "hidden": [32]},
    "recipe": {"name": "hinton", "temperature": 4.0, "alpha": 0.7},
    "training": {"epochs": 40, "optimizer": {"lr": 5e-3}},
    "evaluation": SEEDS,
}
TEXT_TEACHER: dict[str, Any] = {
    "kind": "train",
    "name": "docstrings-teacher",
    "task": "text-classification",
    "data": {"train": "docstrings", "max_length": 64},
    "student": {"arch": "textcnn", "embedding": 192, "channels": 192, "dropout": 0.5},
    "tokenizer": {"vocabulary": 4000},
    "training": {"epochs": 8, "batch_size": 32, "optimizer": {"lr": 1e-3}},
}
TEXT_STUDENT: dict[str, Any] = {
    "kind": "distill",
    "name": "docstrings-student",
    "task": "text-classification",
    "data": {"train": "docstrings", "max_length": 64, "max_train_samples": 400},
    "student": {"arch": "textcnn", "embedding": 16, "channels": 16, "dropout": 0.2},
    "recipe": {"name": "logit_mse", "alpha": 0.9},
    "training": {"epochs": 40, "batch_size": 32, "optimizer": {"lr": 5e-3}},
    "evaluation": SEEDS,
}


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the student's files go.")] = Path("demo-student"),
    text: Annotated[bool, typer.Option("--text", help="Sentences and what they are about, instead of images.")] = False,
) -> None:
    """Train a teacher on handwritten digits, distil a small student, pull its files and use them. Ends by itself."""
    started = time.monotonic()
    of_teacher, of_student = (TEXT_TEACHER, TEXT_STUDENT) if text else (TEACHER, STUDENT)
    with tempfile.TemporaryDirectory(prefix="potstill-demo-") as home, _service(Path(home)) as client:
        line("✓", "service", f"up at {client.url} after {time.monotonic() - started:.1f} s", stderr=False)
        teacher = client.jobs.submit(of_teacher)
        student = client.jobs.submit({**of_student, "teacher": {"job": teacher.id}})
        line("✓", "submitted", f"teacher {teacher.id}, {_network(teacher)}", stderr=False)
        runs = "with and without its teacher, five seeds each"
        line("✓", "submitted", f"student {student.id}, {_network(student)}, {runs}; {student.status} for the teacher", stderr=False)
        _follow(teacher)
        _follow(student)
        folder = student.pull(out)
        line("✓", "pulled", f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}; every sha256 is right", stderr=False)
        _use(folder, student)
    line("✓", "done", f"in {time.monotonic() - started:.1f} s. Yours to keep running: make serve", stderr=False)
    note(f"              how to load the student: {out / 'README.md'}")


@contextlib.contextmanager
def _service(home: Path) -> Iterator["Client"]:
    """`potstill up` in a process of its own, on a free port, with an empty home."""
    from potstill.cli.embedded import free_port, leave_with_parent
    from potstill.client import Client

    port = free_port("127.0.0.1")
    log = (home / "service.log").open("wb")
    environment = {**os.environ, "POTSTILL_HOME": str(home), "PYTHONSAFEPATH": "1"}
    for name in ("POTSTILL_DATABASE_URL", "POTSTILL_BROKER_URL", "POTSTILL_ARTIFACTS_URL", "POTSTILL_KEY"):
        environment.pop(name, None)  # the demo never touches a real deployment
    command = [sys.executable, "-P", "-c", CLI, "up", "--port", str(port), "--home", str(home)]
    parent = os.getpid()
    process = subprocess.Popen(  # noqa: S603 - our own command line
        command, env=environment, stdout=log, stderr=log, process_group=0, preexec_fn=lambda: leave_with_parent(parent)
    )  # in a group of its own: Ctrl-C is for the demo, which then asks its service to leave
    try:
        client = Client(url=f"http://127.0.0.1:{port}", key=_key(home / "key", process, home / "service.log"))
        with client:
            _wait_for_api(client, process, home / "service.log")
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        log.close()


def _key(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> str:
    end = time.monotonic() + 60
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise PotstillError("The service did not start.", hint=log.read_text(errors="replace")[-500:])
        time.sleep(0.05)
    return path.read_text().strip()


def _wait_for_api(client: "Client", process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            client.jobs.page(limit=1)
            return
        except PotstillError:
            if process.poll() is not None or time.monotonic() > end:
                raise PotstillError("The service did not answer.", hint=log.read_text(errors="replace")[-500:]) from None
            time.sleep(0.05)


def _network(job: "Job") -> str:
    from contract.check import parse_spec
    from contract.shapes import builtin_shape
    from contract.spec import Source

    spec = parse_spec(job.view.resolved_spec)
    source = spec.data.train
    assert spec.described is not None and isinstance(source, Source) and source.dataset is not None
    shape = builtin_shape(source.dataset, spec.task)
    if shape.texts:  # how many tokens there will be nobody knows yet
        return f"a small {spec.described.arch}" if spec.kind == "distill" else f"a {spec.described.arch}"
    return f"a {spec.described.arch} of {spec.described.parameters(shape.shape, len(shape.classes)):,} parameters"


def _follow(job: "Job") -> None:
    from potstill.cli.watch import show

    line("·", "watching", job.view.name, stderr=False)
    if show(job, SECONDS) != 0:
        raise PotstillError(f"{job.view.name} did not succeed.")


def _use(folder: Path, student: "Job") -> None:
    """Loads the student from nothing but its files and asks it about the test rows."""
    from contract.check import parse_spec
    from distill.data import load
    from distill.inputs import Inputs
    from distill.networks import load as load_network
    from distill.networks import rows_for
    from distill.teacher import infer

    test = load(parse_spec(student.view.resolved_spec), Inputs(Path())).test
    network, config = load_network(folder)
    guesses = infer(network, config, rows_for(network, config, test)).argmax(1)
    accuracy = float((guesses == test.labels).float().mean())
    report = student.view.report or {}
    of_seed = dict(zip(report["seeds"], report["arms"]["student"]["metrics"]["accuracy"]["values"], strict=True))
    reported = of_seed[report["handed_out_seed"]]
    if abs(accuracy - reported) > 1e-6:
        raise PotstillError(f"The pulled student has accuracy {accuracy:.4f}, its report says {reported:.4f}.")
    pairs = zip(test.labels[:8].tolist(), guesses[:8].tolist(), strict=True)
    shown = "  ".join(f"{config.classes[truth]}→{config.classes[guess]}" for truth, guess in pairs)
    line("✓", "used", f"{accuracy:.4f} on {len(test)} test rows, as reported; the first ones (true→student): {shown}", stderr=False)
