"""What the router knows, for error messages: which methods a path takes, which path was meant, which query fields there are."""

import difflib

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Scope

from contract.errors import ErrorCode, FieldError, Refused


def allowed_methods(scope: Scope) -> list[str]:
    """The methods of all routes with this path; the router itself would name those of the first. A path that is one in so many words
    (/v1/jobs/batch) has no others, though a job might be called so."""
    routes = [route for route in iter_route_contexts(scope["app"].routes) if getattr(route, "path_regex", None) is not None]
    matching = [route for route in routes if route.path_regex.match(scope["path"])]
    literal = [route for route in matching if route.path == scope["path"]]
    return sorted({method for route in literal or matching for method in route.methods or ()})


def nearest_path(scope: Scope) -> str:
    paths = sorted({route.path for route in iter_route_contexts(scope["app"].routes) if route.path})
    close = difflib.get_close_matches(scope["path"].rstrip("/"), paths, n=1, cutoff=0.7)
    return f"Did you mean {close[0]}?" if close else "/docs lists what there is."


async def known_query(request: Request) -> None:
    """Refuses query fields that the route does not know: a misspelt filter must not silently filter nothing."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not request.query_params:
        return
    names = {field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query)}
    names |= {extra["name"] for extra in (route.openapi_extra or {}).get("parameters", ())}
    for given in request.query_params:
        if given in names or ("metadata[k]" in names and given.startswith("metadata[") and given.endswith("]")):
            continue
        close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
        hint = f"Did you mean `{close[0]}`?" if close else f"Known here: {', '.join(sorted(names)) or 'none'}."
        message = "this query field is not known"
        raise Refused(
            f"{given}: {message}",
            status=422,
            code=ErrorCode.UNKNOWN_FIELD,
            param=given,
            hint=hint,
            errors=[FieldError(pointer=f"/{given}", message=message)],
        )
