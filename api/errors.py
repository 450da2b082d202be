"""Anything raised → one problem+json answer. Nothing else in the API writes an error."""

import asyncio
import traceback
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import TimeoutError  # of the connection pool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.routing import allowed_methods, nearest_path
from contract.check import dotted, pointer
from contract.errors import ErrorCode, FieldError, NotFound, PotstillError, Problem, Refused, Unavailable
from models.secret import without_secrets

log = structlog.get_logger("potstill.api")


def problem(scope: Scope, error: PotstillError) -> Response:
    body = told(error, without_secrets(scope["path"]), scope.get("state", {}).get("request_id", ""))
    content = b"" if scope["method"] == "HEAD" else body.model_dump_json().encode()
    return Response(content, error.status, headers=error.headers, media_type="application/problem+json")


def told(error: PotstillError, instance: str, request_id: str) -> Problem:
    body = error.problem(instance, request_id)
    if error.status == 422:
        body.errors = field_errors(error)
    return body


def field_errors(error: PotstillError) -> list[FieldError]:
    """The places an error speaks of; one that names a single field need not say it twice."""
    if error.errors or not error.param:
        return error.errors
    message = error.detail.removeprefix(f"{error.param}: ")
    return [FieldError(pointer=pointer(tuple(error.param.split("."))), message=message)]


async def known(request: Request, error: Exception) -> Response:
    """Starlette's handler for everything that is the sender's doing, and for a database that is away."""
    return problem(request.scope, translated(request.scope, error))


def translated(scope: Scope, error: Exception) -> PotstillError:
    if isinstance(error, PotstillError):
        return error
    if isinstance(error, RequestValidationError):
        return _bad_parameter(error)
    if isinstance(error, HTTPException):
        return _http(scope, error)
    if isinstance(error, TimeoutError):
        return Unavailable("Every database connection is busy.", hint="Ask again in a few seconds.", headers={"Retry-After": "2"})
    request_id = scope.get("state", {}).get("request_id", "")
    # As text: structlog's own rendering for terminals takes seconds and prints every local variable.
    log.error("request failed", request_id=request_id, path=scope["path"], trace="".join(traceback.format_exception(error)))
    return PotstillError("Something went wrong on our side.", hint=f"The service's log has the reason under {request_id}.")


def _bad_parameter(error: RequestValidationError) -> PotstillError:
    found = []
    for one in error.errors():
        place = tuple(one["loc"][1:2])  # the field; which of its repetitions is wrong, the message shows
        message = one["msg"][:1].lower() + one["msg"][1:]
        found.append((place, message if one["type"] == "missing" else f"{message} (given: {_short(one.get('input'))})"))
    place, message = found[0]
    return Refused(
        f"{dotted(place)}: {message}",
        status=422,
        code=ErrorCode.INVALID_PARAMETER,
        param=dotted(place) or None,
        errors=[FieldError(pointer=pointer(place), message=message) for place, message in found],
    )


def _http(scope: Scope, error: HTTPException) -> PotstillError:
    if error.status_code == 404:
        return NotFound(f"There is no {scope['path']} here.", hint=nearest_path(scope))
    if error.status_code == 405:
        allowed = ", ".join(allowed_methods(scope))
        return Refused(
            f"{scope['path']} does not take {scope['method']}.",
            status=405,
            code=ErrorCode.METHOD_NOT_ALLOWED,
            hint=f"It takes {allowed}.",
            headers={"Allow": allowed},
        )
    code = ErrorCode.MALFORMED_BODY if error.status_code == 400 else ErrorCode.INVALID_PARAMETER
    return Refused(str(error.detail), status=error.status_code, code=code, headers=dict(error.headers or {}))


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


class Answered:
    """ASGI middleware: what no handler took, the other middlewares' refusals among it, becomes a problem here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            scope["state"]["disconnected"] = True  # nobody is left to answer
        except asyncio.CancelledError:
            if started:
                raise
            leaving = Unavailable("The service is shutting down.", hint="Ask again in a few seconds.", headers={"Retry-After": "5"})
            await problem(scope, leaving)(scope, receive, send)
        except Exception as error:
            if started:
                raise  # half an answer is out: the server closes the connection, so that nobody takes it for a whole one
            await problem(scope, translated(scope, error))(scope, receive, send)
