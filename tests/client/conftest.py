import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_service import KEY, Outcome, Service

from potstill.cli import main
from potstill.client import Client

SPEC = "kind: train\ntask: image-classification\nname: digits\n"


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, KEY, timeout=5) as made:
        yield made


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no key of whoever runs the tests; a folder of their own to work in; no waiting between tries."""
    for name in ("POTSTILL_URL", "POTSTILL_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "FORCE_COLOR"):
        monkeypatch.setenv(name, "")  # set and not deleted: what --url changes is put back afterwards
    monkeypatch.setenv("POTSTILL_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for module in ("transport", "follow", "pull"):
        monkeypatch.setattr(f"potstill.{module}.backoff", lambda *_, **__: 0.01)


@pytest.fixture
def potstill(service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs one command against the service, in this process."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.setenv("POTSTILL_URL", service.url)  # each time: --url and --key of the run before are gone
        monkeypatch.setenv("POTSTILL_KEY", KEY)
        monkeypatch.setattr(sys, "argv", ["potstill", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return Outcome(int(left.value.code or 0), out, err)

    return run


@pytest.fixture
def spec() -> str:
    """A file in the folder that commands are called in."""
    Path("spec.yaml").write_text(SPEC)
    return "spec.yaml"
