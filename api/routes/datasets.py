"""Datasets: upload, find, look inside, delete."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api import dataset_upload, deletion, form_fields, lookup, paging, uses
from api.idempotency import Created, Sent
from api.keeping import kept
from api.multipart import Upload
from api.openapi import form, problems
from api.paging import Paging, refused
from api.routing import known_query
from api.services import By, In
from contract.wire import DatasetView, Page, PreviewView
from models.dataset import Dataset
from models.ids import new_id
from models.teardown import unreferenced

if TYPE_CHECKING:
    pass

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], dependencies=[Depends(known_query)])


@router.post("", status_code=201, response_model=DatasetView, openapi_extra=form(False), responses={200: {"model": DatasetView, "description": "These bytes are a dataset already."}, **problems(400, 409, 413, 415, 422, 503)})
def upload(services: In, caller: By, sending: Sent, received: Upload) -> Response:
    """Upload rows: .npz, .csv or .jsonl, also with .gz. The same bytes are the same dataset, and give 200."""
    with kept(services.database, services.blobs) as keep:

        def prepare() -> Dataset:
            fields, part = form_fields.fields(received), form_fields.one_file(received)
            row = dataset_upload.row(part, fields, caller.project_id)
            keep(part)
            return row

        def store(session: Session, row: Dataset) -> Created:
            same = (Dataset.project_id == row.project_id, Dataset.sha256 == row.sha256, Dataset.format == row.format)
            found = session.scalar(select(Dataset).where(*same))
            if found is not None:
                return Created(200, found.view(), f"/v1/datasets/{found.id}")
            session.add(row)
            session.flush()
            return Created(201, row.view(), f"/v1/datasets/{row.id}")

        return services.idempotency.once(sending, received.sha256, prepare, store)
