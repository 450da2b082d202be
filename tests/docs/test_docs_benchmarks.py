"""The pages of the service's figures say what their commands left."""

from benchmarks import scale, service_page


def test_docs_the_service_page_is_written_from_the_kept_figures() -> None:
    assert service_page.PAGE.read_text() == service_page.text(), "python -m benchmarks.service_page"


def test_docs_the_page_of_sizes_is_written_from_the_kept_figures() -> None:
    assert scale.PAGE.read_text() == scale.text(), "python -m benchmarks.scale"
