"""`projects`: create, ls. An operator's commands on the store: projects share nothing, so no key of one could make another."""

from typing import Annotated

import typer

from contract.base import Sent
from contract.spec import Name
from contract.wire import rfc3339
from potstill.cli.options import Json
from potstill.cli.output import age, clean, emit, line, note, table
from potstill.cli.store import opened

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Create and list projects (deployments).")


class Project(Sent):
    """What a new project is told."""

    name: Name


@app.command()
def create(name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is for.")], as_json: Json = False) -> None:
    """Create a project and its first key, which may do everything in it. The key is printed once, to stdout.

    It reads POTSTILL_HOME and POTSTILL_DATABASE_URL, as `migrate` does.
    """
    from contract.check import checked
    from models import audit
    from models.audit import Actor
    from models.project import add_key, new_project
    from models.secret import new_secret

    wanted, secret = checked(Project, {"name": name}), new_secret()
    with opened() as (database, _), database.write() as session:
        project = new_project(session, wanted.name)
        key = add_key(session, project, "first key", secret)
        audit.record(session, Actor(project.id), "project.created", project.id, name=project.name, key=key.id)
    if as_json:
        emit({"id": project.id, "object": "project", "name": project.name, "key": key.id, "secret": secret})
        return
    line("✓", "created", f"{project.id} · {project.name}")
    print(clean(secret))
    note("its first key; keep it now: it cannot be shown again")


@app.command()
def ls(as_json: Json = False) -> None:
    """List projects, oldest first, with how many keys open them now."""
    from sqlalchemy import func, select

    from models.project import Key, Project, in_force

    with opened() as (database, _), database.read() as session:
        query = select(Project, func.count(Key.id)).outerjoin(Key, (Key.project_id == Project.id) & in_force())
        found = session.execute(query.group_by(Project.id).order_by(Project.id)).all()
    if as_json:
        emit([{"id": p.id, "object": "project", "name": p.name, "keys": keys, "created_at": rfc3339(p.created_at)} for p, keys in found])
        return
    table(["ID", "NAME", "KEYS", "CREATED"], [(p.id, p.name, str(keys), age(p.created_at)) for p, keys in found])
