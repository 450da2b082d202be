"""Empty databases of both kinds, for what makes the tables itself."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from stores import BACKENDS, MakeUrl

from models.session import Database


@pytest.fixture(scope="session", params=BACKENDS)
def reused_urls(request: pytest.FixtureRequest, make_url_of: MakeUrl) -> list[str]:
    return [make_url_of(request.param) for _ in range(2)]


@pytest.fixture
def empty_urls(reused_urls: list[str]) -> list[str]:
    """Two databases of one kind, without tables."""
    for url in reused_urls:
        database = Database(url)
        if database.dialect == "sqlite":
            Path(database.engine.url.database or "").unlink(missing_ok=True)
        else:
            with database.engine.begin() as connection:
                connection.execute(sa.text("DROP SCHEMA public CASCADE"))
                connection.execute(sa.text("CREATE SCHEMA public"))
        database.dispose()
    return reused_urls


@pytest.fixture
def empty_url(empty_urls: list[str]) -> str:
    return empty_urls[0]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with something in it."""
    path = tmp_path / "source"
    path.write_bytes(b"weights" * 1000)
    return path
