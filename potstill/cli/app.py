"""Every command with its one line of help. Modules are imported when their command runs: `potstill --help` imports none."""

import os
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class Entry(NamedTuple):
    """A command: its help, and the function or group (a Typer) behind it."""

    help: str
    where: str


PANELS: dict[str, dict[str, Entry]] = {
    "Service": {
        "up": Entry("Run everything here: API, worker, SQLite.", "potstill.cli.service:up"),
        "demo": Entry("Train a teacher, distil a student, show what it was worth.", "potstill.cli.demo:demo"),
        "doctor": Entry("Look whether address, key, service and this machine are in order.", "potstill.cli.doctor:doctor"),
        "run": Entry("Run a spec on this machine alone, without a service.", "potstill.cli.engine:run"),
        "api": Entry("Run the API (deployments).", "potstill.cli.service:api"),
        "worker": Entry("Run a worker (deployments).", "potstill.cli.service:worker"),
        "migrate": Entry("Bring the database to this version (deployments).", "potstill.cli.service:migrate"),
        "projects": Entry("Create and list projects (deployments).", "potstill.cli.projects:app"),
        "gc": Entry("Free what nothing refers to any more.", "potstill.cli.gc:gc"),
    },
    "Jobs": {
        "submit": Entry("Queue jobs from spec files.", "potstill.cli.submit:submit"),
        "validate": Entry("Check a spec without queueing anything.", "potstill.cli.submit:validate"),
        "jobs": Entry("List jobs, newest first.", "potstill.cli.jobs:jobs"),
        "show": Entry("Show one job and its report.", "potstill.cli.jobs:show"),
        "watch": Entry("Follow a job to its end.", "potstill.cli.watch:watch"),
        "logs": Entry("Print what a job said.", "potstill.cli.logs:logs"),
        "metrics": Entry("Show a job's metrics.", "potstill.cli.metrics:metrics"),
        "compare": Entry("Put jobs side by side: what differs, and what came out.", "potstill.cli.compare:compare"),
        "cancel": Entry("Cancel jobs.", "potstill.cli.jobs:cancel"),
        "pause": Entry("Pause jobs at their next step.", "potstill.cli.jobs:pause"),
        "resume": Entry("Let paused jobs go on.", "potstill.cli.jobs:resume"),
        "retry": Entry("Run a failed or cancelled job again, from its last checkpoint.", "potstill.cli.jobs:retry"),
        "rm": Entry("Delete finished jobs and free their bytes.", "potstill.cli.jobs:rm"),
        "pull": Entry("Download a job's student.", "potstill.cli.pull:pull"),
        "predict": Entry("Put a row before student and teacher, at several temperatures.", "potstill.cli.predict:predict"),
    },
    "Things": {
        "sweeps": Entry("Try many jobs that differ in a few fields; show the best.", "potstill.cli.sweeps:app"),
        "datasets": Entry("Upload, list, show and remove datasets.", "potstill.cli.datasets:app"),
        "models": Entry("List, show, pull, push and remove models.", "potstill.cli.models:app"),
        "webhooks": Entry("Have other programs told when jobs end.", "potstill.cli.webhooks:app"),
        "keys": Entry("Create, list, rotate and revoke API keys.", "potstill.cli.keys:app"),
        "login": Entry("Print a link that opens the pages in a browser.", "potstill.cli.keys:login"),
        "audit": Entry("Who made and revoked keys, logged in, and deleted what.", "potstill.cli.audit:audit"),
        "recipes": Entry("Recipes that a spec can name.", "potstill.cli.registry:recipes"),
        "losses": Entry("Losses that an objective can hold.", "potstill.cli.registry:losses"),
        "architectures": Entry("Networks that a spec can describe.", "potstill.cli.registry:architectures"),
        "tasks": Entry("Tasks that a job can be about.", "potstill.cli.registry:tasks"),
        "schema": Entry("Print the JSON schema of a spec, for editors.", "potstill.cli.schema:schema"),
    },
}
COMMANDS = {name: entry for panel in PANELS.values() for name, entry in panel.items()}


class LazyGroup(TyperGroup):
    """Lists the commands from the table and loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.help))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name else command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for panel, entries in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])


def _load(name: str) -> Any:
    from potstill.cli.examples import put_below

    module, _, attribute = COMMANDS[name].where.partition(":")
    target = getattr(import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(target)
        target = alone
    command = get_command(target)
    put_below(command, name)
    return command


def build() -> Callable[..., None]:
    """The whole command line. Plain help: rich's takes three times as long to appear."""
    app = typer.Typer(
        cls=LazyGroup,
        name="potstill",
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    command: Callable[..., None] = get_command(app)
    return command


def _version(wanted: bool) -> None:
    if wanted:
        from potstill import __version__

        print(f"potstill {__version__}")
        raise typer.Exit


def _root(
    url: Annotated[str | None, typer.Option(metavar="URL", help="Address of the service; POTSTILL_URL says the same.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="API key; POTSTILL_KEY says the same and stays out of `ps`.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Distil big neural networks into small ones, on your own machines."""
    # The options are the variables: whatever this command starts sees the same service.
    if url:
        os.environ["POTSTILL_URL"] = url
    if key:
        os.environ["POTSTILL_KEY"] = key
