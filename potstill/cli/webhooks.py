"""`webhooks`: add, ls, show, set, rotate, test, rm."""

import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from potstill.cli.options import Json, connect
from potstill.cli.output import age, emit, fields, line, note, secret, table

if TYPE_CHECKING:
    from contract.wire import DeliveryView, WebhookView

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="Have other programs told when jobs end.")
WebhookId = Annotated[str, typer.Argument(metavar="ID", help="A webhook's id, whk_….")]
Events = Annotated[list[str] | None, typer.Option("--event", metavar="EVENT", help="job.failed, sweep.succeeded, …; may be repeated.")]
SHOWN = 20
TEST_SECONDS = 20.0


@app.command()
def add(url: Annotated[str, typer.Argument(metavar="URL", help="Where messages go.")], event: Events = None, as_json: Json = False) -> None:
    """Add a webhook, told of every ending unless --event says otherwise. Its secret is printed once, to stdout."""
    with connect() as client:
        webhook = client.webhooks.create(url, event)
    _show_secret("added", webhook, as_json)


@app.command()
def ls(as_json: Json = False) -> None:
    """List webhooks, newest first."""
    with connect() as client:
        found = list(client.webhooks.list())
    if as_json:
        emit(found)
    elif found:
        table(["ID", "STATE", "CREATED", "URL"], [(w.id, _state(w), age(w.created_at), w.url) for w in found])
    else:
        note("no webhooks; `potstill webhooks add URL` adds one")


@app.command()
def show(webhook: WebhookId, as_json: Json = False) -> None:
    """Show a webhook and what it was told last."""
    with connect() as client:
        found, told = client.webhooks.get(webhook), list(islice(client.webhooks.deliveries(webhook), SHOWN))
    if as_json:
        emit({"webhook": found.model_dump(mode="json"), "deliveries": [one.model_dump(mode="json") for one in told]})
        return
    events = ", ".join(found.events)
    fields([("id", found.id), ("url", found.url), ("events", events), ("state", _state(found)), ("created", age(found.created_at))])
    if told:
        print()
        rows = [(d.id, d.type, d.subject or "–", d.status, len(d.tries), _last(d), age(d.created_at)) for d in told]
        table(["MESSAGE", "EVENT", "ABOUT", "STATUS", "TRIES", "LAST", "CREATED"], rows)


@app.command("set")
def change(
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where messages go from now on.")] = None,
    event: Events = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether anything is sent.")] = None,
    as_json: Json = False,
) -> None:
    """Change a webhook: what is not said stays."""
    changes = {name: value for name, value in (("url", url), ("events", event), ("enabled", enabled)) if value is not None}
    with connect() as client:
        found = client.webhooks.update(webhook, **changes)
    if as_json:
        emit(found)
    else:
        line("✓", "changed", f"{found.id} · {_state(found)} · {found.url}")


@app.command()
def rotate(webhook: WebhookId, as_json: Json = False) -> None:
    """Make a new secret. For a day messages are signed with the old one as well."""
    with connect() as client:
        found = client.webhooks.rotate(webhook)
    _show_secret("rotated", found, as_json)


@app.command()
def test(webhook: WebhookId, as_json: Json = False) -> None:
    """Send a ping and say what came of it."""
    end = time.monotonic() + TEST_SECONDS
    with connect() as client:
        told = client.webhooks.test(webhook)
        while not (told.tries and (told.tries[-1].status_code or told.tries[-1].error)) and time.monotonic() < end:
            time.sleep(0.2)
            told = next(one for one in client.webhooks.deliveries(webhook) if one.id == told.id)
    if as_json:
        emit(told)
    elif told.status == "delivered":
        line("✓", "delivered", f"{told.id} · {_last(told)}")
    else:
        line("✗", str(told.status), f"{told.id} · {_last(told)}", hint=f"potstill webhooks show {webhook}")
    raise typer.Exit(0 if told.status == "delivered" else 1)


@app.command()
def rm(webhook: WebhookId, as_json: Json = False) -> None:
    """Remove a webhook; what waits for it is not sent."""
    with connect() as client:
        client.webhooks.delete(webhook)
    if as_json:
        emit({"id": webhook, "deleted": True})
    else:
        line("✓", "deleted", webhook)


def _show_secret(done: str, webhook: "WebhookView", as_json: bool) -> None:
    if as_json:
        emit(webhook)
        return
    line("✓", done, f"{webhook.id} · {webhook.url}")
    print(secret(webhook.secret, f"The webhook {webhook.id}", f"Have it another one: potstill webhooks rotate {webhook.id}"))
    note("keep it now: it cannot be shown again; the receiver checks signatures with it")


def _state(webhook: "WebhookView") -> str:
    return "enabled" if webhook.enabled else f"disabled: {webhook.disabled_reason}" if webhook.disabled_reason else "disabled"


def _last(delivery: "DeliveryView") -> str:
    if not delivery.tries:
        return "not tried yet"
    last = delivery.tries[-1]
    if last.status_code is None and last.error is None:
        return "under way"
    return " · ".join(str(part) for part in (last.status_code, last.error, f"{last.duration_seconds:.2f} s") if part)
