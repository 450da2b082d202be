"""This project: `potstill run SPEC --json` as people call it. Between its words and the terminal stands a clock, which reads the phases."""

import contextlib
import io
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from shared import STEPS, done, judged, judged_words, language_models, order, peak


class Clock:
    """Seconds, on the wall and of all cores, of preparing, and of the teacher's passes and training, of all runs together. What comes after
    the last step, measuring and saving the student, is in neither."""

    def __init__(self) -> None:
        self.spent = {"preparing": (0.0, 0.0), "training": (0.0, 0.0)}
        self.phase, self.since, self.peak = "", (0.0, 0.0), 0.0

    def heard(self, event: Any) -> None:
        self.peak = max(self.peak, peak())  # which the engine forgets when training begins
        if getattr(event, "type", "") == "log" and "cache:" in event.message:
            self._turn("preparing")  # the teacher has spoken; the student's own rows are next
        elif getattr(event, "type", "") == "phase":
            phase = str(event.data["phase"])
            self._turn("training" if phase in ("teacher_inference", "training") else phase)

    def _turn(self, phase: str) -> None:
        now = time.perf_counter(), time.process_time()
        if self.phase in self.spent:
            wall, cpu = self.spent[self.phase]
            self.spent[self.phase] = wall + now[0] - self.since[0], cpu + now[1] - self.since[1]
        self.phase, self.since = phase, now


def main() -> None:
    work = order()
    os.environ["POTSTILL_HOME"] = work.cache
    from potstill.cli import engine

    clock, say = Clock(), engine.emit

    def heard(event: Any, **how: Any) -> None:
        clock.heard(event)
        say(event, **how)

    engine.emit = heard
    spec, out = Path(work.result).with_suffix(".yaml"), Path(work.result).with_suffix("")
    spec.write_text(json.dumps(work.spec))
    with contextlib.redirect_stdout(io.StringIO()):
        engine.run(str(spec), out, as_json=True)
    STEPS["peak"] = clock.peak, 0.0
    prepared, trained = clock.spent["preparing"], clock.spent["training"]
    STEPS.update(begin=(0.0, 0.0), prepared=prepared, trained=(prepared[0] + trained[0], prepared[1] + trained[1]))
    done(work, work.tokens, **_quality(work, out))


def _quality(work: Any, out: Path) -> dict[str, float]:
    if work.task in ("masked", "causal"):
        student = language_models(SimpleNamespace(task=work.task, device=work.device, teacher=out / "student", student=out / "student"))[1]
        return judged_words(student, work)
    if work.task == "text":
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = out / "student"
        return judged(AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), work)
    metrics = json.loads((out / "report.json").read_text())["arms"]["student"]["metrics"]
    return {name: metrics[name]["mean"] for name in ("loss", "accuracy")}


main()
