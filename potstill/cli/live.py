"""A watched job as a panel that redraws itself: bar, pace, loss curve. On stderr, gone when the job has ended."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from potstill.cli.gauge import Gauge
from potstill.cli.output import clean, console, line

if TYPE_CHECKING:
    from contract.wire import EventView, JobView

BAR_WIDTH = 24


class Panel:
    def __init__(self, job: "JobView") -> None:
        self.gauge = Gauge(job)
        self.live = Live(console=console(stderr=True), get_renderable=self._draw, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.live.stop()

    def show(self, event: "EventView") -> None:
        self.gauge.take(event)
        if event.type == "warning":
            line("!", "warning", event.message)  # above the panel, to stay

    def _draw(self) -> RenderableType:
        gauge = self.gauge
        moving = gauge.moving
        word = (gauge.phase or "running").replace("_", " ") if moving else gauge.status
        row = Table.grid(padding=(0, 2))
        cells: list[RenderableType] = [Text(f"  {clean(word):<11}", "cyan" if moving else "dim")]
        if moving:
            share = gauge.share
            cells.append(ProgressBar(1.0, share or 0.0, width=BAR_WIDTH, pulse=share is None))
            cells.append(Text(f"{share:4.0%}" if share is not None else ""))
        cells.append(Text(gauge.pace(), "dim"))
        row.add_row(*cells)
        readings = gauge.readings(drawn=True)
        return Group(row, Text(f"  {clean(readings)}")) if readings else row
