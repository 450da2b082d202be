"""Why a student may have gained nothing: what the teacher says of the training rows, and which terms the student felt."""

from typing import Any

import torch
from torch import Tensor

from contract.spec import JobSpec
from contract.taste import FELT, FLAT
from distill import scores
from distill.objectives import Objective
from distill.tasks import OUTSIDE
from distill.teacher import Outputs

LOOKS = 4  # at the first step, and after each of so many parts of the training
HARD = 0.02  # entropy of softened answers, of the most there can be
SURE = 0.1  # by how much a teacher may be surer than it is right


def looked_at(total: int, every: int) -> frozenset[int]:
    """The steps at which the terms' gradients are measured, of those of which curves speak: every so many."""
    return frozenset({max(1, number * total // LOOKS // every * every) for number in range(LOOKS)} | {1, total})


def gradient_shares(objective: Objective, losses: list[Tensor], weights: list[float], parameters: list[Tensor]) -> dict[str, float]:
    """Each term's share of the norms of all terms' gradients, on the student's own weights; nothing is changed by asking."""
    norms = []
    for loss, weight in zip(losses, weights, strict=True):
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) if weight and loss.requires_grad else ()
        squares = [gradient.float().square().sum() for gradient in found if gradient is not None]
        norms.append(weight * torch.stack(squares).sum().sqrt().item() if squares else 0.0)
    return {name: norm / max(sum(norms), 1e-30) for name, norm in zip(objective.names, norms, strict=True)}


def diagnose(spec: JobSpec, outputs: object, labels: Tensor, felt: dict[str, float]) -> dict[str, Any]:
    """felt: of each term the largest share of the gradient it ever had. What was kept of the teacher says how it answers on the very rows
    the student learns from; of a teacher asked live that is not known."""
    teacher, said = None, []
    if isinstance(outputs, Outputs) and not outputs.several and labels.ndim == 1:
        logits = outputs.logits.cpu()
        teacher = _on_training_rows(logits, labels)
        said += _of_teacher(spec, logits, teacher)
    said += [
        f"{name}: never more than {100 * share:.1f} % of the gradient: it hardly counts" for name, share in felt.items() if share < FELT
    ]
    return {"teacher_on_training": teacher, "largest_gradient_share": felt or None, "warnings": said}


def _on_training_rows(logits: Tensor, labels: Tensor) -> dict[str, float]:
    log_p = torch.log_softmax(logits.double(), dim=1)
    p = log_p.exp()
    entropy = -(p * log_p).sum(1)
    found = scores.of_classes(logits, labels)
    task = (logits > OUTSIDE).int().argmax(1)  # of several the first class of each row's; of one 0
    commonest = sum(int(labels[task == one].bincount().max()) for one in sorted(set(task.tolist())))
    return {
        "accuracy": (logits.argmax(1) == labels).double().mean().item(),
        "loss": torch.nn.functional.nll_loss(log_p, labels).item(),
        "entropy": entropy.mean().item(),
        "confidence": p.amax(1).mean().item(),
        "calibration_error": found["calibration_error"]["mean"],
        "majority": commonest / len(labels),
    }


def _of_teacher(spec: JobSpec, logits: Tensor, found: dict[str, float]) -> list[str]:
    said = []
    if found["accuracy"] <= found["majority"]:
        right, commonest = 100 * found["accuracy"], 100 * found["majority"]
        said.append(
            f"the teacher is right about {right:.1f} % of the training rows, always naming the commonest class about {commonest:.1f} %"
        )
    if found["confidence"] - found["accuracy"] > SURE:
        sure, right = 100 * found["confidence"], 100 * found["accuracy"]
        said.append(f"the teacher is over-confident: {sure:.0f} % sure on the training rows, and right about {right:.0f} %")
    for temperature in sorted({getattr(term, "temperature", 0.0) for term in spec.terms if term.NEEDS_TEACHER} - {0.0}):
        log_p = torch.log_softmax(logits.double() / temperature, dim=1)
        most = (logits > OUTSIDE).sum(1).log().mean()  # of several tasks, what each row's classes may have
        share = (-(log_p.exp() * log_p).sum(1).mean() / most).item()
        if share < HARD:
            said.append(f"temperature {temperature:g}: the teacher's answers are as hard as labels; a higher one would show more")
        elif share > FLAT:
            said.append(f"temperature {temperature:g}: the teacher's answers are nearly alike for all classes; a lower one would tell more")
    return said
