"""The loss of each recipe against its published formula in float64: numpy, from made-up outputs, states and heads of attention."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import cross_entropy, kl, log_softmax, logit_mse, soft_cross_entropy, softmax

from contract.networks import Ensemble
from contract.registry import RECIPES
from contract.registry import chain_recipes as chains
from contract.registry import layer_recipes as layers
from contract.registry import recipes as plain
from contract.registry.architectures import Mlp
from contract.registry.task_recipes import Bam, MtDnnKd
from distill.data.batch import IGNORED
from distill.inner import comparison
from distill.inside import Heads, Inside
from distill.networks.joint import Joint
from distill.objectives import Objective, Said

ROWS, LONGEST, CLASSES, LENGTHS = 6, 5, 4, [5, 2, 3, 5, 1, 4]
NUMBERS = np.random.default_rng(7)
Z_S, Z_T = NUMBERS.normal(0, 2, (2, ROWS, CLASSES))
Y = NUMBERS.integers(0, CLASSES, ROWS)
THERE = np.arange(LONGEST) < np.array(LENGTHS)[:, None]


class Text:
    """Two layers of 4 for a student, four of 6 for its teacher, two heads each. Of each real token there are logits, too."""

    def __init__(self, depth: int, width: int) -> None:
        self.states = [NUMBERS.normal(0, 1, (ROWS, LONGEST, width)) for _ in range(depth + 1)]
        self.heads = [[NUMBERS.normal(0, 1, (ROWS, 2, LONGEST, width // 2)) for _ in "qkv"] for _ in range(depth)]
        self.z = NUMBERS.normal(0, 2, (int(THERE.sum()), CLASSES))

    def scores(self, layer: int) -> Any:
        q, k, _ = self.heads[layer - 1]
        return np.einsum("bhid,bhjd->bhij", q, k) / np.sqrt(q.shape[-1])

    def values(self, layer: int) -> Any:
        v = self.heads[layer - 1][2]
        return np.einsum("bhid,bhjd->bhij", v, v) / np.sqrt(v.shape[-1])

    @property
    def inside(self) -> Inside:
        mask = torch.tensor(THERE)
        wide = mask[:, None, None, :].expand(ROWS, 1, LONGEST, LONGEST)
        heads = [Heads(*map(wrap, one), one[0].shape[-1] ** -0.5, wide) for one in self.heads]
        return Inside([wrap(h) for h in self.states], heads, mask.flatten().nonzero()[:, 0], mask)


class Image:
    """What goes in, two layers of maps, one of numbers."""

    def __init__(self, *channels: int, size: int) -> None:
        one, two, last = channels
        shapes = ((ROWS, 1, 8, 8), (ROWS, one, size, size), (ROWS, two, size // 2, size // 2), (ROWS, last))
        self.states = [NUMBERS.normal(0, 1, shape) for shape in shapes]

    @property
    def inside(self) -> Inside:
        return Inside([wrap(h) for h in self.states])


def wrap(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float32)


TEXT, OF_TEXT, SAME = Text(2, 4), Text(4, 6), Text(2, 6)
IMAGE, OF_IMAGE = Image(2, 3, 4, size=8), Image(4, 5, 6, size=4)


def learned(
    recipe: Any, mine: Inside | None = None, theirs: Inside | None = None, share: float = 0.0, **more: Any
) -> tuple[float, Objective]:
    """What the student is told, and what was learned along. more: other logits, labels or teacher than those of the rows."""
    terms = recipe.expand()
    torch.manual_seed(1)
    looked = {place: comparison(term, "", mine, theirs) for place, term in enumerate(terms) if term.SEES != "logits"}  # type: ignore[arg-type]
    objective = Objective(terms, looked, classes=CLASSES)
    z_s, z_t, y = more.get("z_s", Z_S), more.get("z_t", Z_T), more.get("y", Y)
    said = [Said(wrap(z), lambda z: z, CLASSES, inside) for z, inside in ((z_s, mine), (z_t, theirs))]
    total, _ = objective(said[0], torch.tensor(y), more.get("teacher", said[1]), share=share)
    return total.item(), objective


def projection(objective: Objective, name: str) -> list[Any]:
    (found,) = objective.comparisons[name].projections.values()
    return [part.detach().double().numpy() for part in found.parameters()]


def classic(alpha: float, T: float) -> float:  # noqa: N803
    return (1 - alpha) * cross_entropy(Z_S, Y, 0.0) + alpha * kl(Z_S, Z_T, T)


def per_row(of_row: Callable[[int, int], Any]) -> float:
    return float(np.mean([of_row(row, length) for row, length in enumerate(LENGTHS)]))


def relation_kl(z_s: Any, z_t: Any) -> float:
    """Of each real token where it looks among the real ones: mean over heads and tokens, then over rows."""

    def of_row(row: int, n: int) -> Any:
        a, b = (log_softmax(z[row, :, :n, :n]) for z in (z_s, z_t))
        return (np.exp(b) * (b - a)).sum(-1).mean()

    return per_row(of_row)


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def pooled(x: Any, size: int) -> Any:
    """[..., H, W] averaged down to size."""
    step = x.shape[-1] // size
    return x.reshape(*x.shape[:-2], size, step, size, step).mean((-3, -1))


# ---- one for each: the loss, and what it is to be


def hinton() -> Any:
    return learned(plain.Hinton(temperature=3.0, alpha=0.6))[0], classic(0.6, 3.0)


def multi_teacher() -> Any:
    each = NUMBERS.normal(0, 2, (3, ROWS, CLASSES))
    spec = Ensemble.model_validate({"ensemble": [{"path": name} for name in "abc"]})
    p = softmax(each / 2.0).mean(0)
    soft = 4.0 * np.mean(np.sum(p * (np.log(p) - log_softmax(Z_S / 2.0)), axis=1))
    found, _ = learned(plain.MultiTeacher(temperature=2.0, alpha=0.4), teacher=Joint([], spec).said(wrap(each)))
    return found, 0.6 * cross_entropy(Z_S, Y, 0.0) + 0.4 * float(soft)


def logits() -> Any:
    return learned(plain.LogitMseRecipe(alpha=0.3))[0], 0.7 * cross_entropy(Z_S, Y, 0.0) + 0.3 * logit_mse(Z_S, Z_T)


def tang_bilstm() -> Any:
    return learned(plain.TangBilstm())[0], logit_mse(Z_S, Z_T)


def distilbert() -> Any:
    """Of all real tokens the distribution and the angle; of every third, masked, the token."""
    masked = np.arange(len(SAME.z)) % 3 == 0
    y = np.where(masked, NUMBERS.integers(0, CLASSES, len(masked)), IGNORED)
    h_s, h_t = SAME.states[2][THERE], OF_TEXT.states[4][THERE]
    angle = np.mean(1 - np.sum(unit(h_s) * unit(h_t), axis=1))
    found, _ = learned(plain.DistilBert(), SAME.inside, OF_TEXT.inside, z_s=SAME.z, z_t=OF_TEXT.z, y=y)
    return found, 5 * kl(SAME.z, OF_TEXT.z, 2.0) + 2 * cross_entropy(SAME.z[masked], y[masked], 0.0) + float(angle)


def pkd() -> Any:
    found, objective = learned(layers.PatientKd(beta=0.5), TEXT.inside, OF_TEXT.inside)
    (w,) = projection(objective, "pkd")
    far = np.sum((unit(TEXT.states[1][:, 0] @ w.T) - unit(OF_TEXT.states[2][:, 0])) ** 2, axis=1)
    return found, classic(0.5, 10.0) + 0.5 * float(np.mean(far))


def inner_of_tinybert(objective: Objective) -> float:
    (w,), (e,) = (projection(objective, name) for name in ("hidden_mse", "embedding_mse"))
    total = float(np.mean((TEXT.states[0][THERE] @ e.T - OF_TEXT.states[0][THERE]) ** 2))
    for mine, theirs in ((1, 2), (2, 4)):
        a, b = TEXT.scores(mine), OF_TEXT.scores(theirs)
        total += per_row(lambda row, n, a=a, b=b: np.mean((a[row, :, :n, :n] - b[row, :, :n, :n]) ** 2))
        total += float(np.mean((TEXT.states[mine][THERE] @ w.T - OF_TEXT.states[theirs][THERE]) ** 2))
    return total


def tinybert_first() -> Any:
    found, objective = learned(layers.TinyBert(until=0.4), TEXT.inside, OF_TEXT.inside, share=0.39)
    return found, inner_of_tinybert(objective)


def tinybert_then() -> Any:
    return learned(layers.TinyBert(until=0.4), TEXT.inside, OF_TEXT.inside, share=0.4)[0], soft_cross_entropy(Z_S, Z_T, 1.0, True)


def tinybert_general() -> Any:
    found, objective = learned(layers.TinyBert(general=True), TEXT.inside, OF_TEXT.inside, share=1.0)
    return found, inner_of_tinybert(objective)


def minilm() -> Any:
    found, _ = learned(layers.MiniLm(values=2.0), TEXT.inside, OF_TEXT.inside)
    return found, relation_kl(TEXT.scores(2), OF_TEXT.scores(4)) + 2.0 * relation_kl(TEXT.values(2), OF_TEXT.values(4))


def huber(x: Any) -> Any:
    return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)


def rkd() -> Any:
    def relations(h: Any) -> Any:
        ways = h[None] - h[:, None]
        far = np.linalg.norm(ways, axis=2)
        there = far[..., None] > 0
        way = np.divide(ways, far[..., None], out=np.zeros_like(ways), where=there)
        return far / far[far > 0].mean(), np.einsum("aid,ajd->aij", way, way)

    (d_s, a_s), (d_t, a_t) = relations(IMAGE.states[3]), relations(OF_IMAGE.states[3])
    found, _ = learned(layers.RelationalKd(), IMAGE.inside, OF_IMAGE.inside)
    return found, cross_entropy(Z_S, Y, 0.0) + 25 * (1 * huber(d_s - d_t).mean() + 2 * huber(a_s - a_t).mean())


def attention_transfer() -> Any:
    total = 0.0
    for layer in (1, 2):
        q_s, q_t = ((one.states[layer] ** 2).sum(1) for one in (IMAGE, OF_IMAGE))
        size = min(q_s.shape[-1], q_t.shape[-1])
        maps = [unit(pooled(q, size).reshape(ROWS, -1)) for q in (q_s, q_t)]
        total += np.mean(np.sum((maps[0] - maps[1]) ** 2, axis=1))
    found, _ = learned(layers.AttentionTransferRecipe(), IMAGE.inside, OF_IMAGE.inside)
    return found, cross_entropy(Z_S, Y, 0.0) + 10 * float(total)


def fitnets_first() -> Any:
    found, objective = learned(layers.FitNets(layers=[[1, 1]]), IMAGE.inside, OF_IMAGE.inside, share=0.29)
    w, b = projection(objective, "feature_hint")
    mine = np.einsum("oc,bcij->boij", w[:, :, 0, 0], pooled(IMAGE.states[1], 4)) + b[:, None, None]
    return found, float(np.mean((mine - OF_IMAGE.states[1]) ** 2))


def fitnets_then() -> Any:
    return learned(layers.FitNets(), IMAGE.inside, OF_IMAGE.inside, share=0.3)[0], classic(0.7, 4.0)


def adversarial() -> Any:
    found, objective = learned(layers.AdversarialRecipe(beta=0.5))
    (judge,) = objective.judges.values()
    steps = [part.detach().double().numpy() for part in judge.parameters()]

    def d(z: Any) -> Any:
        for w, b in ((steps[0], steps[1]), (steps[2], steps[3])):
            z = z @ w.T + b
            z = np.where(z > 0, z, 0.2 * z)
        return z @ steps[4].T + steps[5]

    judged = 0.5 * np.mean(np.log1p(np.exp(-d(Z_T))) + np.log1p(np.exp(d(Z_S))))
    return found, classic(0.7, 4.0) + 0.5 * float(judged)


def gkd() -> Any:
    p_t, p_s = softmax(Z_T / 1.5), softmax(Z_S / 1.5)
    m = 0.3 * p_t + 0.7 * p_s
    by_hand = 0.3 * np.sum(p_t * np.log(p_t / m), axis=1) + 0.7 * np.sum(p_s * np.log(p_s / m), axis=1)
    return learned(plain.Gkd(beta=0.3, temperature=1.5))[0], float(np.mean(by_hand))


def bam() -> Any:
    return learned(Bam(), share=0.25)[0], 0.25 * cross_entropy(Z_S, Y, 0.0) + 0.75 * kl(Z_S, Z_T, 1.0)


def mt_dnn_kd() -> Any:
    return learned(MtDnnKd())[0], classic(0.5, 1.0)


def takd() -> Any:
    return learned(chains.Takd(assistants=[Mlp(hidden=[2])]))[0], classic(0.7, 4.0)


def born_again() -> Any:
    return learned(chains.BornAgain())[0], classic(0.5, 1.0)


def self_kd() -> Any:
    return learned(chains.SelfKd())[0], classic(0.9, 20.0)


def well_read() -> Any:
    return learned(chains.WellRead())[0], kl(Z_S, Z_T, 1.0)


HERE = [
    hinton, multi_teacher, logits, tang_bilstm, distilbert, pkd, tinybert_first, tinybert_then, tinybert_general, minilm, rkd,
    attention_transfer, fitnets_first, fitnets_then, adversarial, gkd, bam, mt_dnn_kd, takd, born_again, self_kd, well_read,
]  # fmt: skip
ELSEWHERE = {  # what they are told depends on what was shown
    "mixkd": ("test_engine_mixup", "test_images_and_the_loss_are_mixed_in_one_share"),
    "minillm": ("test_engine_minillm", "test_the_first_step_by_hand"),
    "seq_kd": ("test_engine_seq2seq", "test_a_teacher_writes_the_targets"),
}


@pytest.mark.parametrize("each", HERE, ids=lambda each: each.__name__)
def test_the_loss_is_the_published_one(each: Callable[[], tuple[float, float]]) -> None:
    found, expected = each()
    assert found == pytest.approx(expected, rel=1e-4)
    assert expected > 0.01, "nothing would be compared"


def test_no_recipe_is_left_out() -> None:
    named = {each.__name__.removesuffix("_first").removesuffix("_then").removesuffix("_general") for each in HERE} - {"logits"}
    assert named | {"logit_mse"} | set(ELSEWHERE) == {recipe.key() for recipe in RECIPES}
    for file, test in ELSEWHERE.values():
        assert re.search(rf"^def {test}\(", (Path(__file__).parent / f"{file}.py").read_text(), re.MULTILINE), test
