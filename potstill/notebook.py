"""A job as a notebook shows it: one cell with status, progress and verdict, which `watch` keeps up to date."""

import sys
import time
from html import escape
from typing import TYPE_CHECKING, Any

from contract.status import FINAL
from contract.wire import JobView
from potstill.cli.gauge import Gauge
from potstill.cli.output import clean
from potstill.cli.report import arms_of, headline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from potstill.job import Job

PAUSE = 0.25  # seconds between two drawings of a cell


def running_here() -> bool:
    """Whether a notebook shows what this process says."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def watch(job: "Job", timeout: float | None) -> None:
    """Follows the job in one cell to its end."""
    from IPython.display import DisplayHandle

    gauge, shown_at, cell = Gauge(job.view), time.monotonic(), DisplayHandle()  # type: ignore[no-untyped-call]

    def draw(how: "Callable[..., Any]", gauge: Gauge | None = None) -> None:
        how({"text/html": html_of(job.view, gauge), "text/plain": repr(job)}, raw=True)

    draw(cell.display)
    for event in job.stream(timeout=timeout):
        gauge.take(event)
        if time.monotonic() - shown_at >= PAUSE:
            shown_at = time.monotonic()
            draw(cell.update, gauge)
    draw(cell.update)


def html_of(view: JobView, gauge: Gauge | None = None) -> str:
    """The job as HTML, everything in it escaped; what it is doing comes from `gauge` where somebody is listening."""
    gauge = gauge or Gauge(view)
    pace = "" if gauge.status in FINAL else gauge.pace()
    phase = gauge.phase.replace("_", " ") if gauge.status == "running" else ""
    said = [f"<b>{_text(view.name)}</b>", f"<code>{_text(view.id)}</code>", *map(_text, filter(None, [gauge.status, phase, pace]))]
    parts = [f"<div>{' · '.join(said)}</div>"]
    if gauge.moving and gauge.share is not None:
        parts.append(f'<progress max="1" value="{gauge.share:.3f}" style="width: 24em">{gauge.share:.0%}</progress>')
    parts += [f"<div>{_text(one)}</div>" for one in (gauge.readings(drawn=True), *view.warnings) if one]
    if view.error is not None:
        parts.append(f"<div><b>{_text(view.error.code)}</b>: {_text(view.error.message)} {_text(view.error.hint or '')}</div>")
    if view.report:
        parts += [table_of(*arms_of(view.report)), f"<div>{_text(headline(view.report))}</div>"]
    return f"<div>{''.join(parts)}</div>"


def table_of(headers: "Sequence[str]", rows: "Iterable[Sequence[object]]") -> str:
    head = "".join(f"<th>{_text(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    return escape(clean(value))
