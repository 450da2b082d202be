"""What every contender has in common: its order, its clock, its largest memory, and how its student is judged. Needs torch alone; scripts
here run in environments that do not know this project."""

import json
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import torch._dynamo
import torch.nn.functional as F

STEPS: dict[str, tuple[float, float]] = {}


def order() -> Any:
    """The work to do, as the harness wrote it: paths, epochs, batch, rate, temperature, alpha, seed, threads."""
    found = SimpleNamespace(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(found.threads)
    torch._dynamo.reset()  # imported now, or a second later by the first optimiser, in the middle of what is measured
    torch.manual_seed(found.seed)
    random.seed(found.seed)
    return found


def clock(name: str) -> None:
    """Ends a part of the work, which began where the one before it ended: on the wall, and in seconds of all cores."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    STEPS[name] = time.perf_counter(), time.process_time()
    if name == "trained":
        STEPS["peak"] = peak(), 0.0


def done(work: Any, tokens: int = 0, **quality: float) -> None:
    """Seconds between the clock's marks `begin`, `prepared` and `trained`; the largest resident size up to then; and how good it is."""
    begin, prepared, trained = (STEPS[name] for name in ("begin", "prepared", "trained"))
    found = {
        "prepare_s": prepared[0] - begin[0],
        "train_s": trained[0] - prepared[0],
        "train_cpu_s": trained[1] - prepared[1],
        "peak_mb": STEPS["peak"][0],
        "tokens": tokens,
        **quality,
    }
    Path(work.result).write_text(json.dumps(found))


def peak() -> float:
    """MiB, of this program alone: what getrusage tells counts the process that started it. On a GPU what torch held of it."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


class Classifiers(NamedTuple):
    """Both networks and their tokenizer, the sentences to learn from and their classes."""

    tokenizer: Any
    teacher: Any
    student: Any
    rows: list[str]
    labels: list[int]


def classifiers(work: Any) -> Classifiers:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    teacher = AutoModelForSequenceClassification.from_pretrained(work.teacher).eval()
    student = AutoModelForSequenceClassification.from_pretrained(work.student).train()
    return Classifiers(AutoTokenizer.from_pretrained(work.teacher), teacher, student, *texts(work.train))


def columns(found: Classifiers, work: Any) -> list[dict[str, Any]]:
    """Rows as a DataLoader of transformers takes them."""
    read = found.tokenizer(found.rows, truncation=True, max_length=work.max_length)
    return [{**{name: read[name][i] for name in read}, "labels": label} for i, label in enumerate(found.labels)]


def language_models(work: Any) -> tuple[Any, Any]:
    """Teacher and student, which read the same tokens."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    kind = AutoModelForMaskedLM if work.task == "masked" else AutoModelForCausalLM
    return kind.from_pretrained(work.teacher).eval().to(work.device), kind.from_pretrained(work.student).train().to(work.device)


def blocks(work: Any) -> torch.Tensor:
    """[N, L]: the training text in token ids, cut into blocks."""
    return torch.tensor(json.loads(Path(work.blocks).read_text()))


def masked(ids: torch.Tensor, work: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What a batch is shown as, and its labels: 15 % of the tokens, of which 80 % are masked, 10 % changed, 10 % left (Devlin et al.)."""
    chosen = (torch.rand(ids.shape) < 0.15) & ~torch.isin(ids, torch.tensor(work.special))
    kind = torch.rand(ids.shape)
    shown = torch.where(chosen & (kind < 0.8), work.mask, ids)
    shown = torch.where(chosen & (kind >= 0.9), torch.randint_like(ids, work.vocabulary), shown)
    return shown, torch.where(chosen, ids, -100)


def of_tokens(z_s: torch.Tensor, z_t: torch.Tensor, labels: torch.Tensor, work: Any) -> torch.Tensor:
    """Of logits [N, V] and labels [N]: the divergence from the teacher, at every token of masked texts and wherever there is a next one;
    with alpha below 1 beside cross-entropy."""
    heard = labels != -100 if work.task == "causal" else slice(None)
    said, soft = F.log_softmax(z_s[heard] / work.temperature, -1), F.softmax(z_t[heard] / work.temperature, -1)
    found = work.alpha * work.temperature**2 * F.kl_div(said, soft, reduction="batchmean")
    return found if work.alpha == 1 else found + (1 - work.alpha) * F.cross_entropy(z_s, labels)


def settings(work: Any, folder: str) -> dict[str, Any]:
    """Of Hugging Face's Trainer and those made of it: linear decay, fused AdamW, bf16 where the order says so, nothing logged or saved."""
    return {
        "output_dir": folder, "num_train_epochs": work.epochs, "per_device_train_batch_size": work.batch, "learning_rate": work.lr,
        "lr_scheduler_type": "linear", "max_grad_norm": 1.0, "optim": "adamw_torch_fused", "logging_strategy": "no", "save_strategy": "no",
        "report_to": "none", "use_cpu": work.device == "cpu", "bf16": work.bf16, "dataloader_pin_memory": work.device != "cpu",
        "disable_tqdm": True, "seed": work.seed,
    }  # fmt: skip


def texts(path: str) -> tuple[list[str], list[int]]:
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def hinton(z_s: torch.Tensor, z_t: torch.Tensor, y: torch.Tensor, work: Any) -> torch.Tensor:
    """(1 − α)·CE + α·T²·KL, averaged over rows, in the words of torch's own tutorial."""
    soft, said = F.softmax(z_t / work.temperature, dim=-1), F.log_softmax(z_s / work.temperature, dim=-1)
    kl = F.kl_div(said, soft, reduction="batchmean") * work.temperature**2
    return (1 - work.alpha) * F.cross_entropy(z_s, y) + work.alpha * kl


def linear(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)


def learn(loss: torch.Tensor, student: Any, optimizer: torch.optim.Optimizer, schedule: Any) -> None:
    """The end of a step of the articles' loop."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    schedule.step()


def judged_words(model: Any, work: Any) -> dict[str, float]:
    """Held-out loss and accuracy of a language model: of the next tokens, or of tokens masked once for all."""
    model.eval()
    rows, losses, right = torch.tensor(json.loads(Path(work.held_out).read_text())), [], []
    torch.manual_seed(0)
    with torch.inference_mode():
        for ids in rows.split(8):
            shown, labels = masked(ids, work) if work.task == "masked" else (ids, torch.nn.functional.pad(ids[:, 1:], (0, 1), value=-100))
            shown, labels = shown.to(model.device), labels.to(model.device)
            z, counts = model(input_ids=shown).logits, labels != -100
            losses.append(F.cross_entropy(z[counts], labels[counts], reduction="none"))
            right.append(z[counts].argmax(-1) == labels[counts])
    return {"loss": torch.cat(losses).mean().item(), "accuracy": torch.cat(right).float().mean().item()}


def judged(model: Any, tokenizer: Any, work: Any) -> dict[str, float]:
    """Held-out loss and accuracy of a classifier of transformers."""
    model.eval()
    rows, labels = texts(work.test)
    y, found = torch.tensor(labels), []
    with torch.inference_mode():
        for first in range(0, len(rows), 64):
            batch = tokenizer(rows[first : first + 64], truncation=True, max_length=work.max_length, padding=True, return_tensors="pt")
            found.append(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits)
    z = torch.cat(found)
    return {"loss": F.cross_entropy(z, y).item(), "accuracy": (z.argmax(1) == y).float().mean().item()}
