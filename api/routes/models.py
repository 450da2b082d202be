"""Models: upload, find, delete. Those that jobs make appear by themselves."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api import deletion, lookup, model_upload, paging, uses
from api.idempotency import Sent
from api.keeping import kept
from api.multipart import Upload
from api.openapi import form, problems
from api.paging import Paging
from api.routing import known_query
from api.services import By, In
from contract.wire import ModelView, Page
from models import audit
from models.results import Model
from models.teardown import let_go

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(known_query)])


@router.post("", status_code=201, response_model=ModelView, openapi_extra=form(several=True), responses=problems(400, 409, 413, 415, 503))
def upload_model(services: In, caller: By, sending: Sent, received: Upload) -> Response:
    """Upload a model: model.safetensors, config.json and texts, one `file` part each. Pickles are never read."""
    with kept(services.database, services.blobs) as keep:
        return services.idempotency.once(
            sending,
            received.sha256,
            lambda: model_upload.prepare(received, keep),
            lambda session, content: model_upload.store(session, caller.project_id, services.quotas, content),
        )


@router.get("", responses=problems(503))
def list_models(services: In, caller: By, page: Paging) -> Page[ModelView]:
    """Models, newest first."""
    with services.database.read() as session:
        return paging.page(session, Model, page, paging.each(Model.view), within=Model.project_id == caller.project_id)


@router.get("/{model_id}", responses=problems(404, 503))
def get_model(services: In, caller: By, model_id: str) -> ModelView:
    """One model: what it is and what it was made for."""
    with services.database.read() as session:
        return lookup.model(session, caller.project_id, model_id).view()


@router.delete("/{model_id}", status_code=204, response_model=None, responses=problems(404, 409, 503))
def delete_model(services: In, caller: By, model_id: str) -> Response:
    """Delete a model, unless an unfinished job needs it. Artifacts of the job that made it stay with that job."""
    with services.database.write() as session:
        row = lookup.model(session, caller.project_id, model_id, lock="change")
        uses.refuse_if_model_used(session, row)
        loose = deletion.delete_model(session, row)
        audit.record(session, caller, "model.deleted", row.id, name=row.name)
    let_go(services.database, services.blobs, loose)
    return Response(status_code=204)
