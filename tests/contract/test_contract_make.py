"""`make test` names the folders of tests: none may be forgotten."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_make_test_runs_every_folder() -> None:
    recipe = (ROOT / "Makefile").read_text()
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders
    assert not [folder for folder in folders if f"{folder}/ " not in recipe and f"{folder} " not in recipe and f"{folder}\n" not in recipe]
