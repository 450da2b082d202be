"""Runs jobs on several ranks, started from a process that has computed nothing, as a trainer is. Called with a file of jobs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.events import RUN_EVENT

OUT = "ran.json"


def run(folder: Path, jobs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By name: {spec, world, resume, stop_after, kill}, one after another, each in `folder/<name>`; resume names a job before, kill a step
    after which rank 1 is. Returns each one's outcome and events."""
    for name in jobs:
        (folder / name).mkdir(parents=True)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    subprocess.run([sys.executable, "-P", __file__, str(folder)], check=True, timeout=300, stderr=subprocess.DEVNULL)
    found = {name: json.loads((folder / name / OUT).read_text()) for name in jobs}
    return {
        name: {key: [RUN_EVENT.validate_python(event) for event in events] for key, events in one.items()} for name, one in found.items()
    }


def _all(folder: Path) -> None:
    import torch._dynamo  # noqa: F401 - optimisers import it at their first step
    from transformers.models.bert import modeling_bert  # noqa: F401 - once, and not by every rank
    from transformers.models.gpt2 import modeling_gpt2  # noqa: F401

    from contract.check import parse_spec
    from contract.errors import PotstillError
    from contract.events import Failed, Outcome, RunEvent, Step
    from distill import evaluate
    from distill.inputs import Inputs
    from distill.launch import launched
    from distill.ranks import Ranks
    from distill.train import run as train

    timed = evaluate._timed
    evaluate._timed = lambda *given, seconds: timed(*given, seconds=0.0)  # type: ignore[assignment]
    for name, job in json.loads((folder / "jobs.json").read_text()).items():
        spec, events = parse_spec(job["spec"]), list[RunEvent]()

        def work(
            ranks: Ranks,
            emit: Callable[[RunEvent], None],
            should_stop: Callable[[], bool],
            name: str = name,
            job: Any = job,
            spec: Any = spec,
        ) -> Outcome:
            import torch

            torch.set_num_threads(1)
            asked = 0

            def stop() -> bool:
                nonlocal asked
                asked += 1
                if ranks.rank == 1 and asked == job.get("kill"):
                    os.kill(os.getpid(), signal.SIGKILL)
                return should_stop() or asked >= job.get("stop_after", 10**9)

            resume = sorted((folder / job["resume"] / "checkpoints").iterdir(), reverse=True) if "resume" in job else []
            try:
                inputs = Inputs.local(spec, folder / "cache")
                return train(spec, folder / name, emit, stop, inputs=inputs, resume_from=resume, ranks=ranks)
            except PotstillError as error:
                return Failed(error=error.body())

        outcome = launched(job["world"], (), events.append, lambda: False, work)
        assert any(isinstance(event, Step) for event in events) or isinstance(outcome, Failed)
        ran = {"outcome": [outcome.model_dump()], "events": [event.model_dump() for event in events]}
        (folder / name / OUT).write_text(json.dumps(ran))


if __name__ == "__main__":
    _all(Path(sys.argv[1]))
