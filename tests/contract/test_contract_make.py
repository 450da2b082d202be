"""`make test` names the folders of tests: none may be forgotten."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_make_test_runs_every_folder() -> None:
    named = re.findall(r"^(\w+)=\((.*?)\)$", (ROOT / "tools" / "test.sh").read_text(), re.MULTILINE | re.DOTALL)
    lists = {name: words.split() for name, words in named}
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("*/test_*.py")}
    assert sorted([*lists["computing"], *lists["together"]]) == sorted(folders)
    assert all((ROOT / file).is_file() and str(Path(file).parent) in lists["together"] for file in lists["alone"])
