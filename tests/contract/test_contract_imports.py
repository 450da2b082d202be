"""The contract weighs little: the client imports it, on machines that have neither torch nor a database."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import contract

HEAVY = {
    "torch", "numpy", "sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn", "celery", "fsspec", "pyarrow", "sklearn", "httpx2",
    "typer", "pydantic_settings", "datafiles", "distill", "models", "migrations", "outward", "api", "worker", "potstill",
}  # fmt: skip
FOLDER = Path(contract.__file__).parent
MODULES = sorted(".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__init__") for path in FOLDER.rglob("*.py"))


@pytest.mark.parametrize("modules", [["contract.spec"], MODULES], ids=["spec", "everything"])
def test_importing_the_contract_in_a_fresh_interpreter_brings_nothing_heavy(modules):
    code = f"import sys, json\nfor name in {modules!r}: __import__(name)\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=FOLDER.parent)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "contract" in loaded
    assert loaded & HEAVY == set()
    ours = loaded - set(sys.stdlib_module_names) - {"contract", "__main__"}
    allowed = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection", "yaml", "cython_runtime"}
    assert {name for name in ours if not name.startswith(("_", "sitecustomize"))} <= allowed


def test_the_list_of_modules_is_not_empty():
    assert "contract.spec" in MODULES
    assert "contract.registry.losses" in MODULES
