"""Distilled students beside their teacher made smaller without one: its weights rounded to 8 bits, or the smallest of them cut away.

Rounding: symmetric, one scale for each output unit, weights only; biases and sums stay in float32. Pruning: the largest weights of the
whole network stay (Han et al. 2015, https://arxiv.org/abs/1506.02626), which then learn from the labels for as long as a student does;
each takes its value and a column of two bytes.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import store
from benchmarks.results.plan import EXAMPLES, filled
from benchmarks.results.store import Record
from benchmarks.results.words import table
from benchmarks.service import running
from contract.evidence import statistic
from distill.networks import load
from potstill import Client
from potstill.specs import load as read_spec

NAME = "sizes"
TIMES = (4, 16, 64)
SECONDS = 4 * 3600.0
PRUNED = {"epochs": 6, "batch_size": 256, "lr": 1e-3}
FLOAT, SCALE, COLUMN = 4, 4, 2  # bytes

Images = tuple[Tensor, Tensor]  # [N, 1, 28, 28] of shares of white, and the digit of each


def measure(mnist: Path) -> None:
    if store.read(NAME) is not None:
        print(f"{NAME}: all there; delete {store.DATA / NAME}.json to run it again", flush=True)
        return
    with TemporaryDirectory() as folder, running(slots=store.SLOTS) as (client, _):
        store.write(NAME, _measured(client, mnist, Path(folder)))


def _measured(client: Client, mnist: Path, folder: Path) -> Record:
    train, test = _images(mnist)
    ids = {"ds_MNIST": client.datasets.upload(mnist).id}
    specs = {name: read_spec(EXAMPLES / NAME / f"{name}.yaml") for name in ("teacher", *(f"times-{times}" for times in TIMES))}
    job = client.jobs.submit(filled(specs["teacher"], ids)).wait(timeout=SECONDS)
    ids["@sizes-teacher"] = job.id
    teacher, _ = load(job.pull(folder / "teacher"))
    found = [_said("the teacher", 1, [_share_right(teacher, test)], size(teacher))]
    found.append(_said("the teacher, 8 bits", 4, [_share_right(rounded(teacher), test)], size(teacher, bits=8)))
    for times in TIMES:
        name = f"times-{times}"
        parent = client.jobs.submit(filled(specs[name], ids)).wait(timeout=SECONDS)
        assert parent.report is not None
        for arm, label in (("control", "trained alone"), ("student", "distilled")):
            found.append(_said(label, times, parent.report["arms"][arm]["metrics"]["accuracy"]["values"], 0))
        children = [child for child in client.jobs.list(parent=parent.id) if child.view.kind == "distill"]
        students = [load(child.pull(folder / child.id))[0] for child in sorted(children, key=lambda child: child.view.name)]
        found[-1]["bytes"] = found[-2]["bytes"] = budget = size(students[0])
        found.append(
            _said("distilled, 8 bits", 4 * times, [_share_right(rounded(net), test) for net in students], size(students[0], bits=8))
        )
        cut = [pruned(teacher, budget, train, seed) for seed in range(len(students))]
        found.append(_said("pruned", times, [_share_right(net, test) for net in cut], budget))
        print(*found[-4:], sep="\n", flush=True)
    return {"specs": specs, "networks": found, "pruned": PRUNED}


def _said(label: str, times: int, values: list[float], size_bytes: int) -> Record:
    return {"what": label, "times": times, "values": values, "bytes": size_bytes}


def _images(mnist: Path) -> tuple[Images, Images]:
    with np.load(mnist) as archive:
        arrays = {name: torch.from_numpy(archive[name]) for name in ("x_train", "y_train", "x_test", "y_test")}
    both = [(arrays[f"x_{part}"].reshape(-1, 1, 28, 28).float() / 255, arrays[f"y_{part}"].long()) for part in ("train", "test")]
    return both[0], both[1]


def _share_right(network: nn.Module, images: Images) -> float:
    with torch.inference_mode():
        return float((network(images[0]).argmax(1) == images[1]).double().mean())


def _linear(network: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in network.modules() if isinstance(layer, nn.Linear))


def size(network: nn.Module, bits: int = 32) -> int:
    """Bytes of its weights and biases, with a scale for each output unit where weights are rounded."""
    layers = list(_linear(network))
    of_biases = sum(layer.out_features for layer in layers) * FLOAT
    scales = sum(layer.out_features for layer in layers) * SCALE if bits < 32 else 0
    return sum(layer.weight.numel() for layer in layers) * bits // 8 + of_biases + scales


def rounded(network: nn.Module) -> nn.Module:
    """A copy whose weights are 8-bit integers times a scale for each output unit."""
    copy = deepcopy(network)
    for layer in _linear(copy):
        scale = layer.weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
        layer.weight.data = (layer.weight / scale).round() * scale
    return copy


def pruned(network: nn.Module, budget: int, train: Images, seed: int) -> nn.Module:
    """A copy that keeps as many weights as `budget` bytes hold, and has learned to do without the others."""
    copy = deepcopy(network)
    layers = list(_linear(copy))
    rows = sum(layer.out_features for layer in layers)
    keep = (budget - 2 * FLOAT * rows) // (FLOAT + COLUMN)  # each row has a bias, and says where its weights begin
    least = torch.cat([layer.weight.abs().flatten() for layer in layers]).topk(keep).values[-1]
    masks = [(layer.weight.abs() >= least).float() for layer in layers]
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(copy.parameters(), lr=PRUNED["lr"])
    x, y = train
    steps = int(PRUNED["epochs"]) * -(-len(x) // int(PRUNED["batch_size"]))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    copy.train()
    for _ in range(int(PRUNED["epochs"])):
        for rows_ in torch.randperm(len(x), generator=draw).split(int(PRUNED["batch_size"])):
            _cut(layers, masks)
            optimizer.zero_grad()
            nn.functional.cross_entropy(copy(x[rows_]), y[rows_]).backward()
            optimizer.step()
            schedule.step()
    _cut(layers, masks)
    return copy.eval()


def _cut(layers: list[nn.Linear], masks: list[Tensor]) -> None:
    for layer, mask in zip(layers, masks, strict=True):
        layer.weight.data *= mask


# ---- the page


def section() -> list[str]:
    record = store.read(NAME)
    if record is None:
        return []
    networks = sorted(record["networks"], key=lambda found: (found["times"], found["what"]))
    lines = []
    for found in networks:
        told = statistic(found["values"])
        spread = f" ± {100 * told['std']:.2f}" if len(found["values"]) > 1 else ""
        lines.append([f"1/{found['times']}", found["what"], f"{found['bytes'] / 1e3:,.0f}", f"{100 * told['mean']:.2f}{spread}"])
    seeds = max(len(found["values"]) for found in networks)
    return [
        f"""
## Distilled, rounded or pruned?

MNIST, all 60,000 images. Teacher 784-512-512-10; students of a quarter, a sixteenth and a sixty-fourth of its bytes, `hinton` with
T = 4 and α = 0.9, six epochs. *8 bits*: weights rounded, a scale for each output unit, nothing learned after. *Pruned*: as many of the
teacher's weights as the student's bytes hold with their places, {record["pruned"]["epochs"]} more epochs on the labels. {seeds} seeds
where there is something to draw.

{table(["of the teacher's bytes", "network", "kB", "% right"], lines)}

{_conclusion(networks)} Specs: [examples/sizes](../examples/sizes). Measured by `python -m benchmarks.results sizes`.
"""
    ]


def _conclusion(networks: list[Record]) -> str:
    said = []
    for times in sorted({found["times"] for found in networks if found["times"] > 1}):
        means = {found["what"]: statistic(found["values"])["mean"] for found in networks if found["times"] == times}
        said.append(f"at 1/{times} *{max(means, key=lambda what: means[what])}*")
    return f"Best {', '.join(said)}. The three go together: what is distilled can still be rounded."
