"""The pages: rendered here, whole without JavaScript, and made live with a little of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.errors import problem, translated
from api.pages import compare, job, lists, login, new
from api.pages.render import html
from api.pages.visitor import guarded, page
from api.services import Services
from contract.errors import PotstillError

STATIC = Path(__file__).parent / "static"
MACHINES = ("/livez", "/readyz", "/metrics", "/openapi.json")
WEEK = "public, max-age=604800, immutable"


class Pages(Mount):
    """Takes what is a page, and from browsers what nobody knows. Anything else is the API's to answer, its errors included."""

    def __init__(self, app: Starlette) -> None:
        super().__init__("/", app)
        self.own = app.routes

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope.get("path", "")
        if scope["type"] != "http" or path == "/v1" or path.startswith("/v1/") or path in MACHINES:
            return Match.NONE, {}
        mine = any(route.matches(scope)[0] is not Match.NONE for route in self.own)
        return super().matches(scope) if mine or "text/html" in Headers(scope=scope).get("accept", "") else (Match.NONE, {})


def create(services: Services, schema: Callable[[], dict[str, Any]]) -> Starlette:
    """An application of its own, below the API's routes: its errors are pages for browsers, problems for everybody else."""
    app = Starlette(
        routes=[
            Route("/login", guarded(login.show), methods=["GET"]),
            Route("/login", guarded(login.enter), methods=["POST"]),
            Route("/docs", _reference),
            Route("/logout", page(login.leave), methods=["POST"]),
            Route("/", page(lists.jobs)),
            Route("/jobs", page(lists.jobs)),
            Route("/jobs/{id}", page(job.show)),
            *(Route(f"/jobs/{{id}}/{action}", page(job.act(action)), methods=["POST"]) for action in job.ACTIONS),
            Route("/compare", page(compare.show)),
            Route("/sweeps", page(lists.sweeps)),
            Route("/sweeps/{id}", page(lists.sweep)),
            Route("/models", page(lists.models)),
            Route("/datasets", page(lists.datasets)),
            Route("/new", page(new.show), methods=["GET"]),
            Route("/new", page(new.submit), methods=["POST"]),
            Route("/new/check", page(new.check), methods=["POST"]),
            Route("/system", page(lists.system)),
            Route("/keys", page(lists.keys), methods=["GET"]),
            Route("/keys", page(lists.new_key), methods=["POST"]),
            Route("/keys/{id}/revoke", page(lists.revoke_key), methods=["POST"]),
            Route("/static/plotly.min.js", _plotly),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={PotstillError: _shown, HTTPException: _shown},
    )
    app.state.services = services
    app.state.schema = schema
    return app


def _reference(request: Request) -> Response:
    """The API's reference, from what it says of itself."""
    schema = request.app.state.schema()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, one in methods.items():
            groups.setdefault((one.get("tags") or ["service"])[0], []).append({"method": method.upper(), "path": path, **one})
    return html(request, "reference.html", schema=schema, groups=groups)


def _plotly(_: Request) -> Response:
    """From the wheel of plotly: nothing minified is kept here, and nothing comes from elsewhere."""
    from importlib.resources import files

    path = str(files("plotly") / "package_data" / "plotly.min.js")
    return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": WEEK})


async def _shown(request: Request, error: Exception) -> Response:
    known = translated(request.scope, error)
    if "text/html" not in request.headers.get("accept", ""):
        return problem(request.scope, known)
    detail = re.sub(r"^[\w.]+: ", "", known.detail) if known.param else known.detail
    context: dict[str, Any] = {"detail": detail, "hint": known.hint, "status": known.status}
    response = html(request, "error.html", known.status, **context)
    response.headers.update({name: value for name, value in known.headers.items() if name in ("Allow", "Retry-After")})
    return response
