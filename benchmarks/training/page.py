"""docs/benchmarks-training.md, written from what was kept: medians and ranges of ratios that were taken round by round."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figures
from benchmarks.results.words import table, wrapped
from benchmarks.training import store
from benchmarks.training.tasks import TASKS

PAGE = Path(__file__).parents[2] / "docs/benchmarks-training.md"
HEADS = ["contender", "training, s", "of all cores, s", "preparing, s", "tokens/s", "peak, MiB", "held-out loss", "% right", "potstill is"]
SHARE = 0.35  # of the speed of a large product
Round = dict[str, dict[str, float]]


def write() -> None:
    found = {name: record for name in TASKS if (record := store.read(name)) is not None}
    parts = [HEAD.strip(), *(_section(name, record) for name, record in found.items()), *_products(), TAIL.strip()]
    PAGE.write_text(wrapped("\n\n".join(parts)) + "\n")


def _section(name: str, record: dict[str, Any]) -> str:
    rounds: list[Round] = record["rounds"]
    machine, versions = record["machine"], ", ".join(f"{package} {number}" for package, number in record["versions"].items())
    counted = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((len(rounds), "round"), (record["threads"], "thread")))
    said = f"{counted}, {machine['cores']} cores of an "
    said += f"{machine['cpu']}, Python {machine['python']}, {versions}, {machine['date']}."
    return f"## {record['title']}\n\n{said}\n\n{table(HEADS, [_line(contender, rounds) for contender in rounds[0]])}"


def _products() -> list[str]:
    path = figures.DATA / "products.json"
    if not path.exists():
        return []
    record = json.loads(path.read_text())
    lines = []
    for row in record["rows"]:
        share = median(row["shares"])
        spread = f"{share:.0%} ({min(row['shares']):.0%}–{max(row['shares']):.0%})"
        reached = f"≥ {SHARE:.0%}, {'reached' if min(row['shares']) >= SHARE else '**not reached**'}"
        lines.append([row["width"], row["dropout"], "bf16" if row["bf16"] else "fp32", f"{row['gflops']:,}", spread, reached])
    heads = ["width", "dropout", "precision", "fastest product, GFLOP/s", "share of it, by round", "to reach"]
    machine = record["machine"]
    said = f"`{record['command']}`, {machine['cores']} cores of an {machine['cpu']}, {record['threads']} threads, "
    said += f"torch {machine['torch']}, {machine['date']}."
    return [f"## Share of the machine's product speed\n\n{said} {PRODUCTS.strip()}\n\n{table(heads, lines)}"]


def _line(contender: str, rounds: list[Round]) -> list[str]:
    mine = [one[contender] for one in rounds]

    def of(name: str, digits: int = 1, factor: float = 1.0) -> str:
        values = [factor * one[name] for one in mine]
        spread = f" ({min(values):.{digits}f}–{max(values):.{digits}f})" if len(values) > 1 else ""
        return f"{median(values):.{digits}f}{spread}"

    speed = f"{median(one['tokens'] / one['train_s'] for one in mine):,.0f}" if mine[0]["tokens"] else "–"
    figures = [of("train_s"), of("train_cpu_s"), of("prepare_s"), speed, of("peak_mb", 0), of("loss", 3), of("accuracy", 1, 100)]
    return [contender, *figures, "; ".join(_ratios(contender, rounds)) or "–"]


def _ratios(contender: str, rounds: list[Round]) -> list[str]:
    """How many times as fast we are, by seconds of all cores, which others on the same machine change least; cold beside cold, and warm."""
    if contender.startswith("potstill"):
        return []
    ours = [name for name in rounds[0] if name.startswith("potstill")]
    same: Callable[[str], bool] = lambda name: "," not in contender or name.split(",")[-1] == contender.split(",")[-1]  # noqa: E731
    found = []
    for name in filter(same, ours):
        values = [one[contender]["train_cpu_s"] / one[name]["train_cpu_s"] for one in rounds]
        spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
        word = name.removeprefix("potstill").strip(", ")
        found.append(f"{median(values):.2f}×{spread} {word}".strip())
    return found


HEAD = """
# Training beside what you would use instead

The same work by each: equal rows, first weights, batch, rate, schedule, temperature and threads, in processes of their own, one after
another, each round beginning with another one. Training is from data in memory and networks built to the last step, the teacher's passes
included; preparing, from texts or files to tokens and tensors, is told beside it. For Potstill that is `potstill run` with all it does
besides: curves, checkpoints, hashes. "Of all cores" counts the seconds that cores worked for it, which other programs on the machine
change less than seconds on the wall; the ratios are of those. The loss is cross-entropy on held-out rows: a student that is worse has not
done the same work. Of MNIST each contender draws first weights and row order by itself, and students of four hidden units come out several
points apart, so only time can be compared there; and at one epoch no text student has left chance.

Contenders: the articles' **plain loop**, with dynamic padding, in fp32; **TextBrewer** with `is_caching_logits`, as its documentation
advises for data of this size, so that its teacher is asked once, in fp32, because its mixed precision needs CUDA; the **Trainer** of
Hugging Face with a distillation loss, grouped by length, bf16, fused AdamW; **TRL**'s `GKDTrainer` with `lmbda` 0 and `beta` 0, bf16,
fused AdamW; a loop by hand with **every trick**: cached logits, batches of like lengths, bf16, fused AdamW. Cold: no outputs of a teacher
are kept yet. bf16 is used where the processor multiplies in it, by all who can. TRL's loss is the divergence alone, at temperature 1, and
so is everybody's in that task; of language models everybody is given the same blocks of tokens.

| against the fastest that can be had, ratios below | to reach | reached |
| --- | --- | --- |
| text classification, 4 epochs, warm and cold | ≥ 7× and ≥ 4× | no |
| the same, one epoch | ≥ 2× | warm |
| the same, against every trick | ≥ 1× | all but warm at 4 and 16 epochs |
| masked language model | ≥ 2× | yes |
| causal language model, and its memory | ≥ 2×, ≤ half | yes, no |
| MNIST, one run | ≥ 1.5× | in seconds of all cores |
| MNIST, 20 seeds × 2 arms | ≥ 6× | no |

`python -m benchmarks.training --peers PYTHON` measures again; `--help` says what PYTHON needs.
"""
PRODUCTS = """
A student of the kind of GPT-2 with four layers learns to write on, 16 blocks of 128 tokens a step. Counted are the products that its sizes
ask for, forward once and back twice, and none else; the fastest of square products in the same precision is taken before and after. On a
virtual machine whose product speed swings, a share is worth no more than its spread.
"""
TAIL = """
## What is not reached, and why

**MNIST.** A step of 784-4-10 is some twenty small operations, and both loops make them one by one. Ours makes them on one thread, because
two would share out less than the sharing costs: that is the half of the cores' seconds. On the clock the two are alike: what is saved on
the loader and on the teacher, who is asked once, goes into curves, checkpoints and the start of forty runs. Forty students as one network
of bigger tensors take a quarter of the time (`python -m benchmarks.training.stacked`); the engine does not work so yet. Students of four
hidden units come out several points apart from seed to seed, and the two loops draw other ones.

**Text classification.** With the teacher asked once and few tokens padded, what is left is the student's own products, and those are the
same for every contender. TextBrewer asks once as well, and what it gains by that grows with the epochs; the Trainer asks at every step. A
student of three of MiniLM's layers is half of its teacher, so that the teacher is less of the work than in the other tasks.

**Language models.** What a loss over a vocabulary costs is to go through memory, again and again, with tensors of all tokens and all
of the vocabulary. Ours goes forward and back in blocks of rows that stay in a cache. On a
processor without bf16 (an AMD EPYC, AVX2) the ratios were 1.2 and 1.1 before, and have not been taken since. At this size networks and
libraries are most of the memory; what the loss takes of a vocabulary of 128,000 is measured by `python -m benchmarks.loss_memory`.

**Not measured:** everything on a GPU (`make bench-gpu`). torchdistill needs torchvision, whose build breaks transformers' import beside a
torch without CUDA.
"""
