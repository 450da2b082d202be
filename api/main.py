"""The application, put together. Importing this reads nothing and opens nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api import description, multipart, openapi, pages, quotas, services
from api.access import Access
from api.auth import Authentication
from api.changes import JobChanges
from api.errors import Answered, known
from api.headers import ResponseHeaders
from api.hosts import OwnHosts
from api.limits import BodyLimit
from api.request_id import RequestId
from api.routes import audit, control, datasets, events, health, jobs, keys, models, registry, results, schemas, sweeps, webhooks, workers
from api.settings import Settings
from contract.errors import PotstillError, QuotaExceeded
from contract.sweep import SweepSpec

ROUTERS = (jobs, control, events, results, sweeps, datasets, models, registry, schemas, webhooks, keys, audit, workers, health)
DESCRIPTION = "Train, distil and compare networks on your own machines. Every error is problem+json with a code, a field and a hint."


def create_app(settings: Settings | None = None, schema_head: str | None = None) -> FastAPI:
    """`schema_head` is the revision the database must be at; /readyz says whether it is."""
    settings = settings or Settings()
    made = services.build(settings, schema_head, _version())
    app = FastAPI(
        title="Potstill",
        version=_version(),
        description=DESCRIPTION,
        openapi_tags=openapi.TAGS,
        docs_url=None,  # theirs loads scripts from elsewhere, beside the pages' cookie; ours is among the pages
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=_lifespan,
    )
    app.state.services = made
    for error in (PotstillError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, known)
    app.add_exception_handler(QuotaExceeded, quotas.refused)
    # Added from the inside out: a request passes the last one first.
    app.add_middleware(BodyLimit, max_body=settings.max_body_bytes, max_upload=settings.max_upload_bytes)
    app.add_middleware(Authentication, database=made.database, rates=made.rates, last_use=made.last_use, metrics_open=settings.loopback)
    app.add_middleware(OwnHosts, bound=settings.host, allowed=settings.own_hosts())
    app.add_middleware(Answered)
    app.add_middleware(ResponseHeaders)
    app.add_middleware(Access, telemetry=made.telemetry)
    app.add_middleware(RequestId)
    for module in ROUTERS:
        app.include_router(module.router)
    app.include_router(keys.links)
    description.describe(app, [JobChanges, keys.KeyRequest, keys.Rotation, SweepSpec, webhooks.WebhookRequest, webhooks.WebhookChanges])
    app.router.routes.append(pages.Pages(pages.create(made, app.openapi)))  # behind every route of the API
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    made: services.Services = app.state.services
    made.news.open()
    made.bell.start()
    made.last_use.start()
    made.postman.start()
    await to_thread.run_sync(multipart.sweep, made.settings.uploads_path())
    yield
    made.news.close()
    await made.postman.stop()
    await to_thread.run_sync(made.bell.stop)
    await to_thread.run_sync(made.last_use.stop)
    made.database.dispose()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("potstill")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
