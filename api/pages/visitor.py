"""Who looks at a page: a browser with the cookie of a session. Other sites can neither read with it nor act with it."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import quotas
from api.auth import COOKIE, Caller, by_cookie
from api.errors import translated
from api.scopes import refuse_beyond
from api.services import Services
from contract.errors import ErrorCode, QuotaExceeded, Refused, Unauthorized
from models import browser


class Visit(NamedTuple):
    """One request of somebody who is logged in."""

    request: Request
    services: Services
    caller: Caller
    form: dict[str, str]


Page = Callable[[Visit], Response]
Route = Callable[[Request], Awaitable[Response]]


def guarded(route: Route) -> Route:
    """The same, whatever goes wrong in it being logged and shown as a page."""

    async def answer(request: Request) -> Response:
        try:
            return await route(request)
        except Exception as error:
            raise translated(request.scope, error) from error

    return answer


def page(show: Page) -> Route:
    """A route of `show`; a browser that is not logged in is sent to the login, one that another site sent is refused to act."""

    async def route(request: Request) -> Response:
        services: Services = request.app.state.services
        caller = await to_thread.run_sync(by_cookie, services.database, request.cookies.get(COOKIE, ""), request.scope)
        if caller is None:
            if request.method in ("GET", "HEAD"):
                return RedirectResponse("/login", 303)
            raise Unauthorized("You are not logged in any more.", code=ErrorCode.MISSING_KEY, hint="Open /login.")
        request.scope.setdefault("state", {})["caller"] = caller
        services.last_use.note(caller.key_id)
        refuse_beyond(caller.scope, request.method, request.url.path)
        if any("\0" in value for value in request.query_params.values()):
            raise Refused("No text here holds a zero character.", status=422, code=ErrorCode.INVALID_PARAMETER)
        form: dict[str, str] = {}
        if request.method == "POST":
            refuse_other_sites(request)
            form = {name: str(value) for name, value in (await request.form(max_files=0, max_fields=20)).items()}
        try:
            return await to_thread.run_sync(show, Visit(request, services, caller, form))
        except QuotaExceeded as refused:
            await to_thread.run_sync(quotas.note, services.database, caller, refused)
            raise

    return guarded(route)


def refuse_other_sites(request: Request) -> None:
    """Browsers say where a form comes from. SameSite keeps the cookie away from other sites, and this what might slip through."""
    fetched, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    here = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if fetched not in (None, "same-origin") or (fetched is None and origin != here):
        hint = "Reload the page and send it again."
        raise Refused("This form was not sent from a page of this service.", status=403, code=ErrorCode.INVALID_PARAMETER, hint=hint)


def with_cookie(response: Response, request: Request, secret: str) -> Response:
    response.set_cookie(
        COOKIE, secret, max_age=int(browser.SESSION_SECONDS), httponly=True, samesite="lax", secure=request.url.scheme == "https", path="/"
    )
    return response
