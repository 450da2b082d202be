"""MiniLLM: terms of tokens that the student has drawn itself, each by hand in float64, and together the gradient of what they are for."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import cross_entropy, log_softmax, logits, numeric_gradient, policy_gradient, single_step_kl
from engine_runs import Engine
from engine_texts import language, write_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.check import parse_spec
from contract.errors import InvalidSpec
from contract.registry import Clm, PolicyGradient, SingleStepKl
from distill import loop, losses, objectives
from distill.data.batch import IGNORED, Batch, Drawn, TokenBatch
from distill.data.on_policy import to_come, written_together
from distill.networks import load
from distill.objectives import Counts, Objective, Said

GPT = {"arch": "gpt2", "layers": 2, "hidden": 16, "heads": 2, "positions": 64, "dropout": 0.0}
MINE = [SingleStepKl(), PolicyGradient()]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.jsonl")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Path:
    return Engine(tmp_path_factory.mktemp("teacher")).run(language(file, "causal-lm", GPT | {"layers": 3}, training={"epochs": 4})).student


def spec(file: Path, teacher: Path, recipe: dict[str, Any] | None = None, **more: Any) -> Any:
    return language(file, "causal-lm", GPT, teacher, recipe={"name": "minillm", **(recipe or {})}, **more)


@settings(max_examples=60, deadline=None)
@given(logits(largest=10.0), st.integers(0, 2**32 - 1))
def test_both_losses_are_their_formulas(batch: Any, seed: int) -> None:
    z_s, z_t, y = batch
    numbers = np.random.default_rng(seed)
    weights, rewards = numbers.uniform(0, 1.25, len(y)), numbers.normal(0, 2, len(y))
    wide = z_s.astype(np.float64), z_t.astype(np.float64)
    z, w, r = torch.tensor(z_s, requires_grad=True), torch.tensor(weights).float(), torch.tensor(rewards).float()
    found = losses.single_step_kl(z, torch.tensor(z_t), w)
    assert found.item() == pytest.approx(single_step_kl(*wide, weights), rel=1e-4, abs=1e-5)
    (gradient,) = torch.autograd.grad(found, z)
    np.testing.assert_allclose(gradient, numeric_gradient(lambda at: single_step_kl(at, wide[1], weights), wide[0]), rtol=1e-3, atol=1e-5)
    found = losses.policy_gradient(z, torch.tensor(y), w, r)
    assert found.item() == pytest.approx(-np.mean(weights * rewards), rel=1e-4, abs=1e-6)
    (gradient,) = torch.autograd.grad(found, z)
    np.testing.assert_allclose(gradient, policy_gradient(wide[0], y, weights, rewards), rtol=1e-3, atol=1e-6)


def test_together_they_are_the_gradient_of_the_reverse_kl_of_whole_texts() -> None:
    """All texts of three tokens of three kinds, each in its share of a student that is a table of logits: what is drawn on average.

    KL(q ‖ p) = Σ_y q(y)·(log q(y) − log p(y)) and its gradient from the definition, in float64."""
    tokens, length = 3, 3
    before = [start for n in range(length) for start in product(range(tokens), repeat=n)]
    numbers = np.random.default_rng(3)
    q, p = numbers.normal(0, 1, (2, len(before), tokens))
    every = list(product(range(tokens), repeat=length))
    places = np.array([[before.index(text[:i]) for i in range(length)] for text in every])

    def log_likely(table: Any) -> Any:
        return np.array([sum(log_softmax(table)[place, token] for place, token in zip(*row)) for row in zip(places, every)])  # noqa: B905

    def divergence(table: Any) -> float:
        log_q = log_likely(table)
        return float(np.sum(np.exp(log_q) * (log_q - log_likely(p))))

    table = torch.tensor(q, dtype=torch.float32, requires_grad=True)
    objective = Objective([SingleStepKl(), PolicyGradient(length_norm=False)])
    for text, row, share in zip(torch.tensor(every), torch.tensor(places), np.exp(log_likely(q)), strict=True):
        log_p = [torch.tensor(log_softmax(z)[row, text], dtype=torch.float32)[None] for z in (q, p)]
        drawn = Drawn(text, torch.ones(length), *(part[0] for part in to_come(log_p[1] - log_p[0])))
        theirs = Said.of(torch.tensor(p, dtype=torch.float32)[row])
        total, _ = objective(Said.of(table[row]), torch.full((length,), IGNORED), theirs, drawn=drawn)
        (float(share) * length * total).backward()  # a mean over tokens; the divergence is a sum
    assert table.grad is not None
    np.testing.assert_allclose(table.grad, numeric_gradient(divergence, q), rtol=1e-3, atol=1e-5)
    alone = torch.autograd.grad(objective(Said.of(table[row]), torch.full((length,), IGNORED), theirs, drawn=drawn)[1][1], table)[0]
    assert alone.abs().sum() > 1e-3  # the part to come is not nothing


def test_what_is_to_come_is_what_stands_behind() -> None:
    ahead, left = to_come(torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, 5.0]]))
    assert ahead.tolist() == [[6.0, 4.0, 0.0], [4.0, 5.0, 0.0]] and left.tolist() == [[2, 1, 0]] * 2


def said_of_drawn(ids: torch.Tensor, prompt: int, folder: Path, weights: Any = None) -> Any:
    """log p [B, M, V] where each drawn token was to be told, by one network that reads everything at once."""
    network, _ = load(folder)
    if weights is not None:
        network.load_state_dict(weights)
    given = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))
    with torch.no_grad():
        return log_softmax(network(given)[:, prompt - 1 : -1, : network.reader.vocabulary].double().numpy())


def by_hand(ids: torch.Tensor, prompt: int, log_q: Any, log_p: Any, share: float) -> tuple[Any, Any]:
    """Of each drawn token [B, M] the weight q/p̃ and the mean reward of those behind it."""
    drawn = ids[:, prompt:, None].numpy()
    q, p = (np.take_along_axis(z, drawn, axis=2)[..., 0] for z in (log_q, log_p))
    reward, m = p - q, q.shape[1]
    to_come = np.array([[row[i + 1 :].mean() if i + 1 < m else 0.0 for i in range(m)] for row in reward])
    return np.exp(q) / (share * np.exp(p) + (1 - share) * np.exp(q)), to_come


def test_the_first_step_by_hand(engine: Engine, file: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what both networks say of every token when they read the whole text at once; labels are the data's own, in the same step."""
    seen: list[Any] = []

    def watched(network: Any, batch: Any, *more: Any) -> Any:
        before = {name: value.clone() for name, value in network.state_dict().items()}
        seen.append((batch, written_together(network, batch, *more), before))
        return seen[-1][1]

    monkeypatch.setattr(loop, "written_together", watched)
    ran = engine.run(spec(file, teacher, {"teacher_mixed": 0.3, "clm": 0.5}))
    batch, made, weights = seen[0]
    ids, prompt = made.given.ids, max(1, int(batch.given.mask.sum(1).min()) // 2)
    assert torch.equal(ids[:, :prompt], batch.given.ids[:, :prompt]) and (made.labels == IGNORED).all()
    log_q, log_p = said_of_drawn(ids, prompt, ran.student, weights), said_of_drawn(ids, prompt, teacher)
    w, to_come = by_hand(ids, prompt, log_q, log_p, 0.3)
    np.testing.assert_allclose(made.drawn.weights.reshape(w.shape), w, rtol=1e-3)
    first = ran.curve()[0][1]
    single = np.mean(w * np.sum(np.exp(log_q) * (log_q - log_p), axis=2))
    assert first["train/loss/single_step_kl"] == pytest.approx(single, rel=1e-3)
    assert first["train/loss/policy_gradient"] == pytest.approx(-np.mean(w * to_come), rel=1e-3)
    network, _ = load(ran.student)
    network.load_state_dict(weights)
    with torch.no_grad():
        z = network(batch.given._replace(asked=None)).flatten(0, 1)[batch.given.asked, : network.reader.vocabulary]
    clm = cross_entropy(z.double().numpy(), batch.labels.numpy(), 0.0)
    assert first["train/loss/clm"] == pytest.approx(clm, rel=1e-3)
    assert first["train/loss"] == pytest.approx(single - np.mean(w * to_come) + 0.5 * clm, rel=1e-3)
    assert ran.report["teacher_outputs"]["mode"] == "live"


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_tokens_are_drawn_from_the_mixture(engine: Engine, file: Path, teacher: Path, share: float) -> None:
    """The first token of many texts with one beginning, against both networks' softmax."""
    folder = engine.run(language(file, "causal-lm", GPT, tokenizer={"path": str(teacher)}, training={"epochs": 1})).student
    student, _ = load(folder)
    ids = torch.full((20_000, 2), student.reader.end)
    given = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))
    torch.manual_seed(0)
    made = written_together(student, Batch(given, ids.flatten()), load(teacher)[0], share)
    q, p = (np.exp(said_of_drawn(made.given.ids[:1], 1, path))[0, 0] for path in (folder, teacher))
    expected = share * p + (1 - share) * q
    counted = np.bincount(made.given.ids[:, 1], minlength=len(expected)) / len(ids)
    assert np.abs(counted - expected).sum() / 2 < 0.05
    if share:
        assert np.abs(counted - q).sum() / 2 > 0.05
    assert made.drawn.weights.mean().item() == pytest.approx(1, abs=0.02)  # as weights of importance are


def drawn_and_data(tokens: int = 11, classes: int = 7) -> tuple[Any, ...]:
    draw = torch.Generator().manual_seed(0)
    z_s, z_t = torch.randn((2, tokens, classes), generator=draw)
    y = torch.randint(0, classes, (tokens,), generator=draw)
    own = torch.arange(tokens) < 6
    numbers = (torch.rand(tokens, generator=draw), torch.randn(tokens, generator=draw), torch.arange(tokens).float() % 3)
    return z_s, z_t, y.masked_fill(own, IGNORED), Drawn(y.masked_fill(~own, IGNORED), *numbers)


@pytest.mark.parametrize("piece", [1, 4, 1000])
def test_no_piece_and_no_part_of_a_step_changes_them(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """And the data's rows count for what their labels say alone."""
    z_s, z_t, y, drawn = drawn_and_data()
    monkeypatch.setattr(objectives, "PIECE", piece * 7)
    objective, counts = Objective([*MINE, Clm()]), Counts(11, 5, drawn=6)
    z = z_s.clone().requires_grad_()
    _, found = objective(Said.of(z), y, Said.of(z_t), drawn=drawn)
    wide, own = (z_s.double().numpy(), z_t.double().numpy()), slice(0, 6)
    w, rewards = drawn.weights[own].double().numpy(), (drawn.ahead / drawn.left.clamp(min=1))[own].double().numpy()
    expected = [single_step_kl(wide[0][own], wide[1][own], w), -np.mean(w * rewards), cross_entropy(wide[0][6:], y[6:].numpy(), 0.0)]
    assert [part.item() for part in found] == pytest.approx(expected, rel=1e-4)
    (gradient,) = torch.autograd.grad(found[1], z)
    np.testing.assert_allclose(gradient[own], policy_gradient(wide[0][own], drawn.ids[own].numpy(), w, rewards), rtol=1e-4, atol=1e-7)
    assert not gradient[6:].any()
    halves = [slice(0, 5), slice(5, 11)]
    parts = [objective(Said.of(z_s[half]), y[half], Said.of(z_t[half]), counts, drawn=drawn.at(half))[1] for half in halves]
    assert [sum(pair).item() for pair in zip(*parts, strict=True)] == pytest.approx(expected, rel=1e-4)


def test_in_steps_on_the_data_only_labels_count(engine: Engine, file: Path, teacher: Path) -> None:
    ran = engine.run(spec(file, teacher, {"on_policy": 0.5}, training={"epochs": 6}))
    points = [point for _, point in ran.curve() if "train/loss/clm" in point]
    own = [point["train/loss/single_step_kl"] > 0 for point in points]
    assert 0 < sum(own) < len(own) and all(point["train/loss/clm"] > 0 for point in points)
    assert all(point["train/loss/policy_gradient"] == 0 for point, mine in zip(points, own, strict=True) if not mine)
    assert engine.run(spec(file, teacher, {"clm": 0.0})).report["verdict"]


def test_a_resume_writes_the_same(engine: Engine, file: Path, teacher: Path) -> None:
    asked = spec(file, teacher, training={"micro_batch_size": 5})
    whole = engine.run(asked)
    assert engine.run(asked, resume=engine.run(asked, stop_after=3).checkpoints).weights == whole.weights


def test_the_student_comes_nearer_to_its_teacher(engine: Engine, file: Path, teacher: Path) -> None:
    """From one that can write already: what a text costs it falls."""
    own = {"path": str(engine.run(language(file, "causal-lm", GPT, tokenizer={"path": str(teacher)}, training={"epochs": 2})).student)}
    asked = language(file, "causal-lm", own, teacher, recipe={"name": "minillm", "clm": 0.0}, training={"epochs": 40})
    costs = [point["train/loss/single_step_kl"] for _, point in engine.run(asked).curve() if "train/loss/single_step_kl" in point]
    assert np.mean(costs[-10:]) < 0.7 * np.mean(costs[:10])


def test_what_the_recipe_says_is_what_is_done(file: Path, teacher: Path) -> None:
    asked = spec(file, teacher, {"length_norm": False}, evaluation={"control": True})
    assert asked.terms == [SingleStepKl(), PolicyGradient(length_norm=False), Clm()]
    assert (asked.shown.on_policy, asked.shown.teacher_mixed) == (1.0, 0.2)
    control = asked.runs()[1].spec
    assert (control.shown.on_policy, control.shown.teacher_mixed, control.kind) == (0.0, 0.0, "train")
    assert spec(file, teacher, data={"teacher_mixed": 0.4}).shown.teacher_mixed == 0.4
    again = parse_spec(asked.resolved().model_dump(mode="json", exclude_none=True))
    assert again.shown == asked.shown and again.terms == asked.terms


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"recipe": "hinton", "data": {"teacher_mixed": 0.2}}, "data.teacher_mixed"),
        ({"recipe": None, "objective": [{"loss": "clm"}, {"loss": "policy_gradient"}]}, "objective.1.loss"),
        ({"recipe": {"name": "minillm", "teacher_mixed": 1.0}}, "recipe.teacher_mixed"),
        ({"recipe": {"name": "minillm", "on_policy": 0.0}}, "recipe.on_policy"),
        ({"teacher_outputs": "cached"}, "teacher_outputs"),
    ],
    ids=str,
)
def test_what_nobody_draws_is_refused_at_its_field(file: Path, teacher: Path, changes: dict[str, Any], param: str) -> None:
    document = spec(file, teacher).model_dump(mode="json", exclude_none=True)
    document |= {name: document["data"] | value if name == "data" else value for name, value in changes.items()}
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({name: value for name, value in document.items() if value is not None})
    assert caught.value.param == param, caught.value.detail


def test_a_teacher_that_cannot_write_along_is_refused(engine: Engine, file: Path) -> None:
    lstm = engine.run(language(file, "causal-lm", {"arch": "lstm", "embedding": 8, "hidden": 8}, training={"epochs": 1})).student
    with pytest.raises(InvalidSpec, match="teacher: this network cannot say token by token what it would write"):
        engine.run(spec(file, lstm))
    with pytest.raises(InvalidSpec, match=r"recipe\.name: minillm is for causal-lm|recipe\.name: students of causal-lm write"):
        language(file, "masked-lm", {"arch": "bert"}, lstm, recipe="minillm")
