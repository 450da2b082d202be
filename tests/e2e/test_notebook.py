"""A notebook in a real kernel against a real service: one cell that follows a job, tables, and names that are no HTML."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from servers import Service

CELLS = [
    """
from potstill import Client
client = Client()
spec = {"kind": "train", "name": "<script>alert(1)</script>", "task": "image-classification", "data": {"train": "digits"},
        "student": {"arch": "logistic"}, "training": {"epochs": 60}}
job = client.jobs.submit(spec)
""",
    "watched = job.watch(timeout=120)",
    "job",
    "next(client.jobs.list())",
    "job.metrics(name='train/loss')",
    "frame = job.metrics(name='train/loss').to_pandas(); print(list(frame), len(frame) > 10, str(frame['time'].dtype).endswith('UTC]'))",
    """
import builtins, sys
real = builtins.__import__
def without_pandas(name, *rest):
    if name == "pandas":
        raise ModuleNotFoundError(name)
    return real(name, *rest)
builtins.__import__ = without_pandas
try:
    job.metrics().to_pandas()
except Exception as error:
    print(type(error).__name__, error, error.hint)
""",
]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[nbformat.NotebookNode]]:
    """Each cell once it was run."""
    home = tmp_path_factory.mktemp("home")
    service = Service(home)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in CELLS])
    environment = {"POTSTILL_URL": service.url, "POTSTILL_KEY": service.key, "PYTHONPATH": str(Path(__file__).parents[2])}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        kernel = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "ours",
            "language": "python",
        }
        folder = home / "kernels" / "ours"
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(kernel))
        patch.setenv("JUPYTER_PATH", str(home))
        NotebookClient(notebook, timeout=150, kernel_name="ours").execute()
    service.stop()
    yield notebook.cells


def shown(cell: nbformat.NotebookNode) -> str:
    (output,) = cell.outputs
    return output["data"]["text/html"]


def test_watch_updates_one_cell_to_the_verdict(cells: list[nbformat.NotebookNode]) -> None:
    said = shown(cells[1])
    assert "succeeded" in said and "<table>" in said and "One run: accuracy" in said
    assert "<progress" not in said


def test_a_job_and_one_of_a_list_are_tables(cells: list[nbformat.NotebookNode]) -> None:
    for cell in cells[2:4]:
        assert re.search(r"<td>model</td><td>0\.\d{4}</td>", shown(cell))


def test_names_are_escaped(cells: list[nbformat.NotebookNode]) -> None:
    for cell in cells[1:4]:
        assert "<script>" not in shown(cell) and "&lt;script&gt;" in shown(cell)


def test_metrics_are_a_table_and_a_data_frame(cells: list[nbformat.NotebookNode]) -> None:
    assert "<td>train/loss</td>" in shown(cells[4])
    assert cells[5].outputs[0]["text"].strip() == "['name', 'arm', 'seed', 'step', 'value', 'time'] True True"


def test_without_pandas_the_error_says_what_to_install(cells: list[nbformat.NotebookNode]) -> None:
    assert cells[6].outputs[0]["text"].strip() == "PotstillError This needs pandas, which is not installed. pip install pandas"
