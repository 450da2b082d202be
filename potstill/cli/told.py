"""What commands on jobs and on sweeps say alike: what a check found, and what deleting frees."""

from typing import TYPE_CHECKING

from potstill.cli.output import emit, line, plain, size

if TYPE_CHECKING:
    from contract.wire import FreedView, ValidateView


def complaints(found: "ValidateView") -> None:
    for error in found.errors:
        line("✗", "error", f"{error.pointer or '/'}: {error.message}")
    for warning in found.warnings:
        line("!", "warning", warning)


def deleted(id_: str, freed: "FreedView | None", *, as_json: bool, stream: bool = False) -> None:
    """That it is gone, or what its going would free."""
    if as_json:
        emit({"id": id_, "deleted": freed is None, **(plain(freed) or {})}, stream=stream)
    elif freed is not None:
        files = f"{freed.files:,} file{'s' * (freed.files != 1)}"
        line("✓", "would free", f"{size(freed.freed_bytes)} in {files} · {id_}", stderr=False)
    else:
        line("✓", "deleted", id_)
