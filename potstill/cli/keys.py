"""`keys`: create, ls, rotate, revoke; and `login`."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from contract.scope import Scope
from potstill.cli.options import Json, connect
from potstill.cli.output import age, emit, line, note, secret, table

if TYPE_CHECKING:
    from contract.wire import KeyView

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Create, list, rotate and revoke API keys.")
KeyId = Annotated[str, typer.Argument(metavar="ID", help="A key's id, key_….")]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def _seconds(given: str | int) -> int:
    """90d → seconds; a default comes as the number it is."""
    found = re.fullmatch(r"(\d{1,9})([smhdw]?)", str(given))
    if found is None:
        raise typer.BadParameter(f"{given!r} is no length of time; write it like 90d, 12h, 30m or, in seconds, 3600.")
    return int(found[1]) * UNITS[found[2] or "s"]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(metavar="read|submit|admin", help="What it may do; each holds those before it. [default: submit]"),
    ] = None,
    expires: Annotated[int | None, typer.Option(parser=_seconds, metavar="TIME", help="Refused after this long: 90d, 12h, 30m.")] = None,
    as_json: Json = False,
) -> None:
    """Create a key. It is printed once, to stdout, and cannot be shown again."""
    with connect() as client:
        _print(client.keys.create(name, scope, expires), "created", as_json)


@app.command()
def rotate(
    key: KeyId,
    grace: Annotated[int, typer.Option(parser=_seconds, metavar="TIME", help="How long the old secret goes on working: 1h, 0.")] = 3600,
    as_json: Json = False,
) -> None:
    """Give a key another secret. It is printed once, to stdout; the old one works for a while more."""
    with connect() as client:
        _print(client.keys.rotate(key, grace), "rotated", as_json)


def _print(key: "KeyView", word: str, as_json: bool) -> None:
    if as_json:
        emit(key)
        return
    line("✓", word, f"{key.id} · {key.name} · {_may(key)}")
    print(secret(key.secret, f"The key {key.id}", f"Have it another one: potstill keys rotate {key.id}"))
    note("keep it now: it cannot be shown again")


def login(as_json: Json = False) -> None:
    """Print a link that logs one browser in, once, within ten minutes."""
    with connect() as client:
        link = client.keys.login_link()
    if as_json:
        emit({"url": link})
    else:
        print(link)


@app.command()
def ls(as_json: Json = False) -> None:
    """List keys, newest first."""
    with connect() as client:
        found = list(client.keys.list())
    if as_json:
        emit(found)
        return
    table(
        ["ID", "NAME", "BEGINS WITH", "MAY", "CREATED", "LAST USED", "ENDS", "STATE"],
        [
            (
                k.id,
                k.name,
                f"{k.prefix}…",
                _may(k),
                age(k.created_at),
                age(k.last_used_at) if k.last_used_at else "never",
                f"{k.expires_at:%Y-%m-%d %H:%M}" if k.expires_at else "never",
                _state(k),
            )
            for k in found
        ],
    )


def _state(key: "KeyView") -> str:
    if key.revoked_at:
        return f"revoked {age(key.revoked_at)}"
    return "expired" if key.expires_at and key.expires_at <= datetime.now(UTC) else "valid"


def _may(key: "KeyView") -> str:
    return ", ".join(key.scopes)


@app.command()
def revoke(key: KeyId, as_json: Json = False) -> None:
    """Revoke a key. What it created stays."""
    with connect() as client:
        client.keys.revoke(key)
    if as_json:
        emit({"id": key, "revoked": True})
    else:
        line("✓", "revoked", key)
