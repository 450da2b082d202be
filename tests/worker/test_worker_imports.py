"""A worker supervises and computes nothing: what its trainers import stands in the fork server's memory alone."""

import subprocess
import sys


def test_a_worker_never_loads_what_its_trainers_need() -> None:
    heavy = ("torch", "sklearn", "transformers", "numpy", "pyarrow", "distill", "worker.trainer", "worker.measure")
    program = f"import sys, worker.serve; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
