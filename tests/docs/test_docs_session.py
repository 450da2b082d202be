"""The reader of the pages notices what a reader would: commands that fail, lines that do not come."""

from pathlib import Path

import pytest
from docs_pages import Command, blocks, commands
from docs_session import Session, missing, stable

PAGE = """
```console
$ X=$(echo ready) && echo $X in 3 s
ready in 12.5 s
$ cat <<EOT
> $X again
> EOT
ready again
```

<!-- not run: it would take too long -->
```bash
sleep 1000
```

```python
print("sum", 1 + 1)
```
```text
sum 2
```
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path, tmp_path, "http://127.0.0.1:1")


def test_docs_page_is_read_as_it_is_written(tmp_path: Path, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs_pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = commands(page)
    assert [command.text.split("\n")[0] for command in found] == ["X=$(echo ready) && echo $X in 3 s", "cat <<EOT", 'print("sum", 1 + 1)']
    assert [block.not_run for block in blocks(page) if block.not_run] == ["it would take too long"]
    for command in found:
        status, output = session.run(command)
        assert (status, missing(command.says, output)) == (0, None)
    session.close()


@pytest.mark.parametrize(("text", "language"), [("ls nowhere", "bash"), ("echo; false", "bash"), ("raise SystemExit", "python")])
def test_docs_failing_command_is_seen(session: Session, text: str, language: str) -> None:
    status, _ = session.run(Command(text, "here", language))
    assert status != 0
    session.close()


def test_docs_failure_in_the_middle_of_a_block_is_seen(session: Session) -> None:
    with pytest.raises(AssertionError, match="this failed"):
        session.run(Command("ls nowhere | cat\necho done", "here", strict=True))
    session.close()


@pytest.mark.parametrize(
    ("says", "output", "lacks"),
    [
        (["3 rows"], "12 rows", None),
        (["✓ queued  job_0198f2…"], "✓ queued      job_01a1fdb7a05176e1b97363ad6449360c", None),
        (["a", "b"], "b\na", "b"),
        (["a", "…", "c"], "a\nb\nc", None),
        (["✓ torch  …"], "✓ torch       2.13.0+cpu", None),
        (["helped: +1.7 points"], "hurt: -1.7 points", "helped: +1.7 points"),
        (["took 0.8 s"], "took 1,204 ms", None),
    ],
)
def test_docs_lines_are_compared_by_what_is_stable(says: list[str], output: str, lacks: str | None) -> None:
    assert missing(says, output) == lacks


def test_docs_words_are_stable_and_numbers_are_not() -> None:
    assert stable("  loss  0.412 ▇▅▃▂▂▁") == "loss 0"
    assert stable("digits-mlp") == "digits-mlp"
