"""The API imports this package at its start, so it has to be small until it is used."""

import subprocess
import sys


def test_importing_brings_neither_arrow_nor_a_framework():
    code = "import sys, datafiles; print(*sorted({'pyarrow', 'pandas', 'torch', 'sklearn', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
