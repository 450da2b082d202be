"""The page of the service's figures says what its commands left."""

from benchmarks import service_page


def test_docs_the_service_page_is_written_from_the_kept_figures() -> None:
    assert service_page.PAGE.read_text() == service_page.text(), "python -m benchmarks.service_page"
