"""What one application is made of, made once by create_app and handed to routes as a dependency."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.auth import Caller
from api.idempotency import Created, Idempotency
from api.news import News
from api.queue import Bell
from api.settings import Settings
from api.telemetry import Telemetry
from models.blobs import Blobs
from models.session import Database

THREADS = 40  # anyio's own number of worker threads; each may hold one connection


@dataclass(frozen=True)
class Services:
    settings: Settings
    schema_head: str | None  # the revision this version of the code needs; None: not checked
    database: Database
    blobs: Blobs
    bell: Bell
    news: News
    idempotency: Idempotency
    telemetry: Telemetry

    def ring(self, created: Created) -> None:
        for job_id in created.jobs:
            self.bell.ring(job_id)


def build(settings: Settings, schema_head: str | None) -> Services:
    database = Database(settings.database(), pool_size=THREADS)
    return Services(
        settings=settings,
        schema_head=schema_head,
        database=database,
        blobs=Blobs(settings.artifacts()),
        bell=Bell(settings.broker(), settings.broker_timeout_seconds),
        news=News(database, settings.stream_poll_seconds),
        idempotency=Idempotency(database),
        telemetry=Telemetry(),
    )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


In = Annotated[Services, Depends(_services)]
By = Annotated[Caller, Depends(_caller)]
