#!/usr/bin/env bash
# Puts Potstill with an extra into a virtual environment:   PYTHON=python3.12 tools/install.sh .venv worker|dev
# Says how much it downloaded. Where there is no NVIDIA driver it takes a CPU build of torch, which spares gigabytes of CUDA.
set -euo pipefail
venv=$1 extra=$2
cpu_torch=2.13.0
cpu_index=https://download.pytorch.org/whl/cpu

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do  # the first that really runs: a version manager's shim may not
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "$python" ] || { echo "Potstill needs Python 3.11 or newer; PYTHON=… names one." >&2; exit 1; }
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" ||
  { echo "No virtual environment could be made; on Debian: apt install python3-venv" >&2; exit 1; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
install() {  # of 24,000 modules few are ever imported: those are compiled below, or when they are
  if ! pip install --no-compile --progress-bar off "$@" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "The installation failed; the lines above say why." >&2
    exit 1
  fi
}

echo "installing potstill[$extra] into $venv …"
if [ ! -e /proc/driver/nvidia/version ] && ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
  if "$venv/bin/python" -c "import urllib.request as u; u.urlopen('$cpu_index/torch/', timeout=3).read(1)" 2>/dev/null; then
    install torch --index-url "$cpu_index"
  else
    install "torch==$cpu_torch"
  fi
fi
install -e ".[$extra]"
env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -c "
import potstill.cli, api.serve, worker.serve, worker.trainer, torch._dynamo
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel, DistilBertModel, GPT2Model, LlamaModel, T5Model"
"$venv/bin/python" - "$log" <<'PY'
import re, sys
unit = {"k": 0.001, "M": 1.0, "G": 1000.0}
found = re.findall(r"Downloading .*\(([\d.]+) ?([kMG])B", open(sys.argv[1]).read())
print(f"installed, {sum(float(n) * unit[u] for n, u in found):.0f} MB downloaded")
PY
