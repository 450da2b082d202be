"""What one application is made of, made once by create_app and handed to routes as a dependency."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.auth import Caller
from api.deliveries import Postman
from api.idempotency import Created, Idempotency
from api.last_use import LastUse
from api.news import News
from api.queue import Bell
from api.quotas import Quotas
from api.rates import Rates
from api.settings import Settings
from api.telemetry import Telemetry
from models.blobs import Blobs
from models.session import Database
from outward.access import judge
from outward.judge import Outward

THREADS = 40  # anyio's own number of worker threads; each may hold one connection


@dataclass(frozen=True)
class Services:
    settings: Settings
    version: str
    schema_head: str | None  # the revision this version of the code needs; None: not checked
    database: Database
    blobs: Blobs
    bell: Bell
    news: News
    idempotency: Idempotency
    telemetry: Telemetry
    outward: Outward
    teachers: Outward  # of the endpoints of remote ones
    postman: Postman
    last_use: LastUse
    rates: Rates
    quotas: Quotas

    def ring(self, created: Created) -> None:
        for job_id in created.jobs:
            self.bell.ring(job_id)


def build(settings: Settings, schema_head: str | None, version: str) -> Services:
    database = Database(settings.database(), pool_size=THREADS)
    outward, telemetry = Outward(settings.webhook_hosts), Telemetry()
    return Services(
        settings=settings,
        version=version,
        schema_head=schema_head,
        database=database,
        blobs=Blobs(settings.artifacts(), settings.download_link_seconds),
        bell=Bell(settings.broker(), settings.broker_timeout_seconds),
        news=News(database, settings.stream_poll_seconds),
        idempotency=Idempotency(database),
        telemetry=telemetry,
        outward=outward,
        teachers=judge(settings.teacher_endpoints),
        postman=Postman(database, outward, telemetry, version),
        last_use=LastUse(database),
        rates=Rates(
            settings.broker_url, settings.broker_timeout_seconds, settings.rate_limit_per_minute, settings.failed_logins_per_minute
        ),
        quotas=Quotas(settings.quota_queued_jobs, settings.quota_bytes),
    )


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


In = Annotated[Services, Depends(_services)]
By = Annotated[Caller, Depends(_caller)]
