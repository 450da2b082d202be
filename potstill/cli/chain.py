"""Jobs that wait for each other, drawn: `teacher job_… ✓ → assistant-1 job_… running → student job_… waiting`."""

import shutil
import sys
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from potstill.cli.output import INDENT, clean, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from contract.wire import JobView
    from potstill.job import Job

MOST = 20  # jobs that are asked for
MARKS = {"succeeded": "✓", "failed": "✗"}
PLAIN = {"→": "->", "✓": "ok", "✗": "failed", "…": "..."}  # for a terminal that cannot show them


def tell_chain(job: "Job", *, stderr: bool = True) -> None:
    """The chain that `job` is the end of; nothing for one that waits for no other."""
    from potstill.errors import PotstillError

    if not job.view.depends_on:
        return
    try:
        views = {one.id: one.view for one in [job, *job.before(MOST)]}
    except PotstillError:
        return  # the drawing is a help; what was asked for goes on
    unseen = "…" if len(views) > MOST else "deleted"
    steps = _steps({id_: view.depends_on for id_, view in views.items()})
    _draw([" + ".join(_drawn(views[id_]) if id_ in views else f"{clean(id_)} {unseen}" for id_ in ids) for ids in steps], stderr=stderr)


def tell_plan(before: "Sequence[Mapping[str, Any]]", last: "Mapping[str, Any]") -> None:
    """The jobs that a recipe makes of one spec, before there are any; the first of them follows its teacher."""
    teacher = before[0].get("teacher") or {}
    named = [ref.get("job") or ref.get("model") for ref in teacher.get("ensemble", [teacher])]
    taught_by = [f"teacher {' + '.join(filter(None, named))}"] if any(named) else []
    _draw([clean(one) for one in [*taught_by, *(spec.get("name") for spec in before), last.get("name") or "this job"]], stderr=True)


def _steps(needs: "Mapping[str, Iterable[str]]") -> list[list[str]]:
    """Ids step by step: each job stands behind all that it needs; those that need the same number of steps stand together."""
    depth: dict[str, int] = {}
    for id_ in TopologicalSorter(needs).static_order():
        depth[id_] = 1 + max((depth[need] for need in needs.get(id_, ())), default=-1)
    return [[id_ for id_ in depth if depth[id_] == step] for step in range(max(depth.values()) + 1)]


def _drawn(job: "JobView") -> str:
    return f"{clean(job.name)} {clean(job.id)} {MARKS.get(job.status, job.status)}"


def _draw(steps: list[str], *, stderr: bool) -> None:
    """One line; on a terminal broken before an arrow where it would not fit."""
    stream = sys.stderr if stderr else sys.stdout
    width = shutil.get_terminal_size().columns - INDENT if stream.isatty() else sys.maxsize
    rows = steps[:1]
    for step in steps[1:]:
        if len(rows[-1]) + len(step) + 3 <= width:
            rows[-1] += f" → {step}"
        else:
            rows.append(f"→ {step}")
    line("·", "chain", _as_shown("\n".join(rows), stream.encoding), stderr=stderr)


def _as_shown(text: str, encoding: str | None) -> str:
    for mark, plain in PLAIN.items():
        try:
            mark.encode(encoding or "ascii")
        except UnicodeEncodeError:
            text = text.replace(mark, plain)
    return text
