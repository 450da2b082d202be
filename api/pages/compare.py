"""Jobs side by side; which ones stands in the address."""

from starlette.responses import Response

from api import lookup
from api.pages.render import html
from api.pages.visitor import Visit
from contract.compare import MOST, compare
from contract.errors import PotstillError
from contract.wire import JobView


def show(visit: Visit) -> Response:
    wanted = list(dict.fromkeys(visit.request.query_params.getlist("job")))[: MOST + 1]
    problem = f"At most {MOST} jobs fit side by side." if len(wanted) > MOST else None
    everything = visit.request.query_params.get("all") == "1"
    views: list[JobView] = []
    with visit.services.database.read() as session:
        for job_id in wanted[:MOST]:
            try:
                views.append(lookup.job(session, visit.caller.project_id, job_id).view())
            except PotstillError as error:
                problem = error.detail
    found = compare(views, everything=everything) if views else None
    points = [
        {"name": view.name, "x": arm["parameters"], "y": arm["metrics"][view.report["metric"]]["mean"]}
        for view in views
        if view.report and (arm := view.report["arms"].get("student") or view.report["arms"].get("model"))
    ]
    return html(visit.request, "compare.html", views=views, found=found, everything=everything, problem=problem, points=points)
