"""docs/reference/settings.md: the environment variables of the three processes and of the client."""

from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from api.settings import Settings as ApiSettings
from docgen.text import table
from models.settings import StoreSettings
from potstill.settings import DEFAULT_URL
from worker.settings import Settings as WorkerSettings

INTRO = """# Settings

Read from the environment when a process starts; there is no settings file. `potstill up` passes its environment on to the API and the
worker it starts, except host, port, slots and home: those are its options `--host`, `--port`, `--slots` (as many as there are cores, at
most 2) and `--home`, and `POTSTILL_HOST`, `POTSTILL_PORT` and `POTSTILL_SLOTS` do nothing there.
"""

# Read by the client with os.environ: it must not wait for a settings library.
CLIENT = [
    ("POTSTILL_URL", DEFAULT_URL, "Address of the service; `--url` goes before it."),
    (
        "POTSTILL_KEY",
        "the file `key` in the home folder",
        "API key; `--key` goes before it. `potstill migrate` makes it a key of the default project.",
    ),
    ("POTSTILL_HOME", "~/.potstill", "Folder of the embedded service, where its first key is found; cache of `potstill run`."),
    ("NO_COLOR", "", "Set to anything: no colours."),
]
COMPUTED = {"POTSTILL_HOST_ID": "the host's name", "POTSTILL_TEACHER_KEYS": "`{}`"}


def page() -> str:
    store = set(StoreSettings.model_fields)
    return "\n\n".join(
        [
            INTRO,
            "## Client and command line",
            _table([(f"`{name}`", "", f"`{default}`" if "/" in default else default or "–", meaning) for name, default, meaning in CLIENT]),
            "## API and worker",
            "Where things are kept. Both must be told the same.",
            _table(_rows(StoreSettings, set())),
            "## API",
            _table(_rows(ApiSettings, store)),
            "## Worker",
            _table(_rows(WorkerSettings, store)),
        ]
    )


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    return table(["variable", "type", "default", "meaning"], rows)


def _rows(settings: type[BaseSettings], without: set[str]) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, field in settings.model_fields.items():
        if name in without:
            continue
        variable = f"POTSTILL_{name.upper()}"
        if not field.description:
            raise SystemExit(f"{variable} has no description in {settings.__module__}")
        rows.append((f"`{variable}`", _type(settings, name), COMPUTED.get(variable) or _default(field.get_default()), field.description))
    return rows


def _type(settings: type[BaseSettings], name: str) -> str:
    from docgen.text import in_words

    schema = settings.model_json_schema()["properties"][name]
    return in_words({key: value for key, value in schema.items() if key != "default"}, {}).removesuffix(" or null")


def _default(value: Any) -> str:
    if value in (None, ""):
        return "–"
    if isinstance(value, int) and value % (1 << 20) == 0 and value:
        return f"`{value}` ({value >> 20:,} MiB)"
    return f"`{value}`" if isinstance(value, str | Path | bool) else f"`{value:g}`"
