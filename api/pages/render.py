"""Templates → answers. Everything is escaped; nothing is fetched from elsewhere, and the browser is told to hold us to it."""

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.scopes import allows
from contract.status import JobStatus
from contract.sweep import brief
from contract.units import age, clock, compact, duration, size

HERE = Path(__file__).parent
# Styles inside elements are plotly's way to place what it draws; scripts come from files of ours alone.
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all browsers call the origin of our own forms null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ICONS = {
    "waiting": "◌", "queued": "○", "running": "▶", "pausing": "▶", "paused": "‖", "cancelling": "▶", "succeeded": "✓", "failed": "✗",
    "cancelled": "–",
}  # fmt: skip
NAVIGATION = [
    ("/", "Jobs"), ("/sweeps", "Sweeps"), ("/models", "Models"), ("/datasets", "Datasets"), ("/new", "New job"), ("/system", "System"),
    ("/keys", "Keys"),
]  # fmt: skip


def _figure(value: Any, digits: int = 4) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}" if abs(value) < 1e-3 and value else f"{value:,.{digits}f}"


def _data(value: Any) -> Markup:
    """JSON inside a script element that no browser runs."""
    text = json.dumps(value, separators=(",", ":"), default=str)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - escaped here


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"  # 0.3, not 0.30000000000000004
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _ticks(text: str) -> Markup:
    """What stands in backticks as code."""
    parts = [Markup.escape(part) for part in str(text).split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _answer(value: Any) -> str:
    """A class and how probable it was said to be."""
    if isinstance(value, dict) and set(value) == {"class", "p"}:
        return f"{value['class']} ({value['p']:.3f})"
    return _written(value)


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"age": age, "clock": clock, "compact": compact, "duration": duration, "size": size, "figure": _figure}
    made.filters |= {"brief": brief, "ticks": _ticks, "answer": _answer}
    made.filters |= {"data": _data, "written": _written, "icon": lambda status: ICONS.get(str(status), "·")}
    made.globals |= {"navigation": NAVIGATION, "JobStatus": JobStatus}
    return made


TEMPLATES = _environment()


def html(request: Request, name: str, code: int = 200, **context: Any) -> Response:
    """The page `name` with what it shows."""
    here = "/" + request.url.path.strip("/").split("/")[0]
    caller = request.scope.get("state", {}).get("caller")

    def may(method: str, path: str) -> bool:
        """Whether who looks at the page could do this: what would be refused is not offered."""
        return caller is not None and allows(caller.scope, method, path)

    text = TEMPLATES.get_template(name).render(here="/" if here == "/jobs" else here, request=request, may=may, **context)
    return HTMLResponse(text, code, headers=HEADERS)
