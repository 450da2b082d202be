"""Coming in: by the link that `potstill up` prints, or with a key; and going out."""

from anyio import to_thread
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.auth import COOKIE, SECRET, by_secret, caller_of
from api.pages.render import html
from api.pages.visitor import Visit, refuse_other_sites, with_cookie
from api.services import Services
from contract.errors import Unauthorized
from models import audit, browser
from models.audit import Actor


async def show(request: Request) -> Response:
    """The form. With `?once=…` of a link straight in, if somebody opened it here: a preview, or another site that sent the browser here,
    gets a button, so that nobody is logged in as somebody else without having asked for it."""
    once = request.query_params.get("once")
    if once is not None and request.method == "GET" and request.headers.get("sec-fetch-site") in ("none", "same-origin"):
        return await to_thread.run_sync(_by_link, request, once)
    return html(request, "login.html", once=once)


async def enter(request: Request) -> Response:
    """A link's button, or a key from the form, looked at as carefully as one in a header."""
    refuse_other_sites(request)
    form = await request.form(max_files=0, max_fields=4)
    if "once" in form:
        return await to_thread.run_sync(_by_link, request, str(form["once"]))
    return await to_thread.run_sync(_by_key, request, str(form.get("key", "")).strip())


def _by_link(request: Request, once: str) -> Response:
    services: Services = request.app.state.services
    with services.database.write() as session:
        key = browser.redeem(session, once) if SECRET.fullmatch(once) else None
        secret = _session(session, caller_of(key, request.scope)) if key is not None else None
    return _entered(request, secret, "This link was used already, or is older than ten minutes.")


def _by_key(request: Request, given: str) -> Response:
    services: Services = request.app.state.services
    try:
        caller = by_secret(services.database, services.rates, given, request.scope)
    except Unauthorized as error:
        return _entered(request, None, error.detail)
    with services.database.write() as session:
        secret = _session(session, caller)
    return _entered(request, secret)


def _session(session: Session, actor: Actor) -> str:
    assert actor.key_id is not None
    audit.record(session, actor, "login.used", actor.key_id)
    return browser.new_session(session, actor.key_id)


def _entered(request: Request, secret: str | None, problem: str = "") -> Response:
    if secret is None:
        return html(request, "login.html", 403, problem=problem, once=None)
    return with_cookie(RedirectResponse("/", 303), request, secret)


def leave(visit: Visit) -> Response:
    with visit.services.database.write() as session:
        browser.forget(session, visit.request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/")
    return response
