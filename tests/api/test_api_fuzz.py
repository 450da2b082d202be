"""Schemathesis over the real application: what /openapi.json says is what is answered, whatever is sent, in whatever order.

FUZZ_SECONDS and FUZZ_SEED choose more of it; `make fuzz` does.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from api_world import World
from real_service import Api

from api import codes

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("fuzz_hooks.py")
SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
SEED = os.environ.get("FUZZ_SEED", "20261122")
NAMES = {"jobs": codes.JOB, "datasets": codes.DATASET, "models": codes.MODEL, "artifacts": codes.ARTIFACT, "sweeps": codes.SWEEP}


def test_schemathesis_finds_nothing(api: Api, tmp_path: Path) -> None:
    world = World(api)
    spare = World(api)  # what is deleted in one is still there in the other
    lists = [f'[dictionaries.{name}]\nvalues = ["{world.ids[id_]}", "{spare.ids[id_]}"]' for name, id_ in NAMES.items()]
    config = tmp_path / "schemathesis.toml"
    config.write_text("\n".join([f'hooks = "{HOOKS}"', CONFIG.read_text(), *lists]))
    secrets = {"POTSTILL_KEY": api.secret, "POTSTILL_SPARE_KEY": spare.ids[codes.KEY], "POTSTILL_ENDED_JOB": spare.ids[codes.JOB]}
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", f"{api.running.url}/openapi.json"]
    options = ["--max-time", str(SECONDS), "--seed", SEED, "--no-color"]
    ran = subprocess.run([*command, *options], env={**os.environ, **secrets}, capture_output=True, text=True, cwd=tmp_path)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr
    assert api.get("/v1/jobs").status_code == 200, "its key was still good at the end"
    tried = re.search(r"(\d+) generated", ran.stdout)
    assert tried is not None and int(tried[1]) >= len(api.running.document["paths"]), ran.stdout
