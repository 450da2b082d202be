"""Datasets: upload, find, look inside, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import dataset_upload, lookup, paging, uses
from api.idempotency import Sent
from api.keeping import kept
from api.multipart import Upload
from api.openapi import form, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.wire import DatasetView, Page, PreviewView
from models import audit
from models.dataset import Dataset
from models.teardown import let_go

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Depends(known_query)])
AGAIN: dict[int | str, dict[str, Any]] = {200: {"model": DatasetView, "description": "These bytes are a dataset already: this one."}}


@router.post(
    "",
    status_code=201,
    response_model=DatasetView,
    openapi_extra=form(several=False),
    responses=AGAIN | problems(400, 409, 413, 415, 503),
)
def upload_dataset(services: In, caller: By, sending: Sent, received: Upload) -> Response:
    """Upload rows: a file whose ending says its format (.npz, .csv, .jsonl, …, each also as .gz). The same bytes answer 200."""
    with kept(services.database, services.blobs) as keep:
        return services.idempotency.once(
            sending,
            received.sha256,
            lambda: dataset_upload.prepare(received, keep),
            lambda session, content: dataset_upload.store(session, caller.project_id, services.quotas, content),
        )


@router.get("", responses=problems(503))
def list_datasets(services: In, caller: By, page: Paging) -> Page[DatasetView]:
    """Datasets, newest first."""
    with services.database.read() as session:
        return paging.page(session, Dataset, page, paging.each(Dataset.view), within=Dataset.project_id == caller.project_id)


@router.get("/{dataset_id}", responses=problems(404, 503))
def get_dataset(services: In, caller: By, dataset_id: str) -> DatasetView:
    """One dataset: splits, columns, classes."""
    with services.database.read() as session:
        return lookup.dataset(session, caller.project_id, dataset_id).view()


@router.get("/{dataset_id}/preview", responses=problems(404, 503))
def preview_dataset(
    services: In,
    caller: By,
    dataset_id: str,
    split: Annotated[str | None, Query(description="`train`, or the only one, when not said.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Rows; fewer come where each is very large.")] = 10,
) -> PreviewView:
    """The first rows of a split."""
    with services.database.read() as session:
        row = lookup.dataset(session, caller.project_id, dataset_id)
    return dataset_upload.preview(services.blobs, services.settings.uploads_path(), row, split, limit)


@router.delete("/{dataset_id}", status_code=204, response_model=None, responses=problems(404, 409, 503))
def delete_dataset(services: In, caller: By, dataset_id: str) -> Response:
    """Delete a dataset and its bytes, unless an unfinished job needs it."""
    with services.database.write() as session:
        row = lookup.dataset(session, caller.project_id, dataset_id, lock="change")
        uses.refuse_if_used(session, caller.project_id, "dataset", row.id)
        session.delete(row)
        audit.record(session, caller, "dataset.deleted", row.id, name=row.name)
    let_go(services.database, services.blobs, [row.sha256])
    return Response(status_code=204)
