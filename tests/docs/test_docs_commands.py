"""What the pages tell people to type works, in order, and prints what the pages say it prints."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_pages import DOCS, ROOT, blocks, commands, pages
from docs_session import RECEIVER_PORT, Session, missing
from servers import Service

from contract.errors import Conflict

RUN = [
    ROOT / "README.md",
    DOCS / "tutorial" / "your-first-student.md",
    DOCS / "tutorial" / "is-it-worth-it.md",
    DOCS / "tutorial" / "distil-your-own-bert.md",
    DOCS / "how-to" / "bring-your-data.md",
    DOCS / "how-to" / "bring-a-teacher.md",
    DOCS / "how-to" / "back-up.md",
    DOCS / "how-to" / "check-before-you-run.md",
    DOCS / "how-to" / "distil-text.md",
    DOCS / "how-to" / "resume-and-retry.md",
    DOCS / "how-to" / "free-disk-space.md",
    DOCS / "how-to" / "find-good-values.md",
    DOCS / "how-to" / "get-told-when-a-job-ends.md",
    DOCS / "how-to" / "let-others-in.md",
    DOCS / "how-to" / "several-devices.md",
    DOCS / "how-to" / "export-a-student.md",
    DOCS / "how-to" / "mirror-a-run.md",
    DOCS / "how-to" / "watch-a-deployment.md",
    DOCS / "how-to" / "use-the-python-client.md",
    DOCS / "how-to" / "run-without-a-service.md",
    DOCS / "explanation" / "temperature.md",
    DOCS / "explanation" / "evidence.md",
    DOCS / "explanation" / "teacher-cache.md",
    DOCS / "reliability.md",
]
ELSEWHERE = {
    "deploy-with-compose.md": "needs Docker",
    "your-own-loss.md": "test_docs_methods.py runs all of its blocks in one interpreter",
    "use-the-pages.md": "tests/e2e/test_pages_in_a_browser.py does what it says, in a browser",
    "deploy-on-kubernetes.md": "needs a cluster; tests/deploy/test_deploy_kubernetes.py checks the manifests",
    "use-an-object-store.md": "needs a bucket; tests/e2e/test_object_store.py does what it says, with a server of its own",
    "security.md": "it holds no commands; it names the tests",
    "results.md": "its numbers take hours; benchmarks/ makes them",
}
# Every block that is left out, by its first line. A new one has to be entered here, where somebody will ask why.
LEFT_OUT = {
    ("README.md", "make demo"),
    ("README.md", "make install"),
    ("README.md", "$ potstill up"),
    ("your-first-student.md", "make install"),
    ("your-first-student.md", "$ potstill up"),
    ("reliability.md", "$ kill -TERM WORKER_PID"),
    ("use-the-python-client.md", "student.watch()"),
    ("several-devices.md", "$ potstill submit two.yaml --watch"),
    ("several-devices.md", "torchrun --nnodes 2 --node-rank 0 --nproc-per-node 4 --master-addr first-machine --master-port 29500 \\"),
    ("back-up.md", "cp -a backup ~/restored"),
    ("back-up.md", 'pg_dump -Fc -f potstill.dump "$POTSTILL_DATABASE_URL"'),
}


@pytest.fixture
def reader(tmp_path: Path, docs_home: Path, docs_service: Service) -> Iterator[Session]:
    """A folder like a fresh checkout, as far as the pages go: the examples are there."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    home = tmp_path.with_name(tmp_path.name + "-home")
    home.mkdir()
    (home / ".potstill").symlink_to(docs_home / ".potstill")
    session = Session(tmp_path, home, docs_service.url)
    yield session
    session.close()
    with docs_service.client() as client:  # a page that stopped half-way must not slow down the next
        for job in client.jobs.list(status=["waiting", "queued", "running", "pausing", "paused"]):
            with contextlib.suppress(Conflict):  # it has ended meanwhile
                job.cancel()


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_docs_page_works_as_written(page: Path, reader: Session, docs_service: Service) -> None:
    for command in commands(page):
        command.text = command.text.replace("http://127.0.0.1:8400", docs_service.url).replace("8500", str(RECEIVER_PORT))
        status, output = reader.run(command)
        assert status == 0, f"{command.place}: exit code {status}\n$ {command.text}\n{output}"
        lacking = missing(command.says, output)
        assert lacking is None, f"{command.place}: this line did not come\n  {lacking}\n$ {command.text}\n{output}"


def test_docs_every_page_with_commands_is_run() -> None:
    with_commands = {page for page in pages() if commands(page)}
    known = set(RUN) | {page for page in with_commands if page.name in ELSEWHERE}
    assert with_commands <= known, "pages with commands that nobody runs"
    assert all(commands(page) for page in RUN), "pages to run that have no commands"


def test_docs_blocks_left_out_are_known_and_few() -> None:
    left_out = {(page.name, block.lines[0].split("  ")[0]) for page in RUN for block in blocks(page) if block.not_run is not None}
    assert left_out == LEFT_OUT


def test_docs_languages_are_those_that_are_run() -> None:
    """A block marked `sh` or `shell` would be shown as a command and never be tried."""
    used = {(block.language, block.place) for page in RUN for block in blocks(page)}
    assert {
        (language, place) for language, place in used if language not in ("bash", "console", "python", "yaml", "json", "text", "mermaid")
    } == set()
