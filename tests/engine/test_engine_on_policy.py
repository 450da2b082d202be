"""Texts that the student writes itself: what is asked of them, that the prompt is not, and that a resume writes the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import log_softmax, softmax
from engine_runs import Engine
from engine_texts import language, write_texts

from contract.check import parse_spec
from contract.errors import InvalidSpec
from distill import loop
from distill.data.batch import IGNORED, Batch, TokenBatch
from distill.data.on_policy import written
from distill.networks import load, said_of
from distill.objectives import Objective

GPT = {"arch": "gpt2", "layers": 2, "hidden": 16, "heads": 2, "positions": 64, "dropout": 0.1}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.jsonl")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, file: Path) -> Path:
    return Engine(tmp_path_factory.mktemp("teacher")).run(language(file, "causal-lm", GPT | {"layers": 3}, training={"epochs": 1})).student


def spec(file: Path, teacher: Path, share: float = 1.0, **more: Any) -> Any:
    return language(file, "causal-lm", GPT, teacher, recipe={"name": "gkd", "beta": 0.3, "on_policy": share}, **more)


def test_what_is_asked_is_what_was_drawn_and_never_the_prompt(
    file: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    """The loss of the first step, from what both networks say of every drawn token alone."""
    seen: list[Any] = []

    def watched(network: Any, batch: Any) -> Any:
        made = written(network, batch)
        seen.append((batch, made, {name: value.clone() for name, value in network.state_dict().items()}))
        return made

    monkeypatch.setattr(loop, "written", watched)
    still = GPT | {"dropout": 0.0}
    ran = engine.run(language(file, "causal-lm", still, teacher, recipe={"name": "gkd", "beta": 0.3, "on_policy": 1.0}))
    batch, made, weights = seen[0]
    length = batch.given.ids.shape[1]
    prompt = max(1, int(batch.given.mask.sum(1).min()) // 2)
    assert torch.equal(made.given.ids[:, :prompt], batch.given.ids[:, :prompt])
    assert not torch.equal(made.given.ids[:, prompt:], batch.given.ids[:, prompt:])
    places = [row * length + place for row in range(len(batch.given.ids)) for place in range(prompt - 1, length - 1)]
    assert made.given.asked.tolist() == places and made.counted == 0 and (made.labels == IGNORED).all()
    (student, config), (theirs, of_theirs) = load(ran.student), load(teacher)
    student.load_state_dict(weights)
    with torch.inference_mode():
        p_s, p_t = (
            softmax(network(made.given._replace(asked=None)).flatten(0, 1)[places].double().numpy()) for network in (student, theirs)
        )
    m = 0.3 * p_t + 0.7 * p_s
    by_hand = 0.3 * (p_t * np.log(p_t / m)).sum(1) + 0.7 * (p_s * np.log(p_s / m)).sum(1)
    assert ran.curve()[0][1]["train/loss"] == pytest.approx(by_hand.mean(), rel=1e-3)
    assert said_of(theirs, of_theirs, made.given).logits.shape[0] == len(places) and log_softmax(p_s).shape == p_s.shape and config.by_token


def test_an_end_may_be_drawn_like_any_token(teacher: Path) -> None:
    """It separates texts in the blocks; what is drawn is what the student would say, ends and all."""
    network, _ = load(teacher)
    with torch.no_grad():
        network.inner.lm_head.weight[network.reader.end] = network.inner.lm_head.weight.mean(0)
    ids = torch.full((64, 16), network.reader.end)
    given = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids), torch.arange(3))
    torch.manual_seed(0)
    drawn = torch.cat([written(network, Batch(given, ids.flatten())).given.ids[:, 8:].flatten() for _ in range(10)])
    assert (drawn == network.reader.end).sum() > 0


def test_behind_an_end_it_goes_on_writing(teacher: Path) -> None:
    """As the blocks of the data do: padding would be learned as if it had been drawn, and blocks in which all rows end be shorter."""
    network, _ = load(teacher)
    with torch.no_grad():  # one token in five is an end, all others are alike
        last, head = network.inner.transformer.ln_f, network.inner.lm_head.weight
        last.weight.zero_()
        last.bias.fill_(1.0)
        head.zero_()
        head[network.reader.end] = np.log(len(head) / 4) / head.shape[1]
    ids = torch.full((2, 16), network.reader.end)
    given = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids), torch.arange(3))
    torch.manual_seed(0)
    drawn = [written(network, Batch(given, ids.flatten())).given.ids[:, 8:] for _ in range(40)]
    assert {tuple(one.shape) for one in drawn} == {(2, 8)}
    behind = torch.cat([row[row.tolist().index(network.reader.end) + 1 :] for one in drawn for row in one if network.reader.end in row])
    assert len(behind) > 20 and (behind == network.reader.pad).float().mean() < 0.1


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_resume_writes_the_same(engine: Engine, file: Path, teacher: Path, share: float) -> None:
    whole = engine.run(spec(file, teacher, share))
    assert (
        engine.run(spec(file, teacher, share), resume=engine.run(spec(file, teacher, share), stop_after=3).checkpoints).weights
        == whole.weights
    )
    assert whole.report["teacher_outputs"]["mode"] == "live"


def test_so_many_steps_are_on_its_own_texts(engine: Engine, file: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, own = [], []
    monkeypatch.setattr(loop, "written", lambda network, batch: own.append(1) or written(network, batch))
    real = Objective.forward
    monkeypatch.setattr(Objective, "forward", lambda self, *given: asked.append(1) or real(self, *given))
    engine.run(spec(file, teacher, 0.5, training={"epochs": 12}))
    assert 0.3 < len(own) / len(asked) < 0.7


def test_labels_beside_are_only_of_the_data(engine: Engine, file: Path, teacher: Path) -> None:
    terms = [{"loss": "reverse_kl"}, {"loss": "clm", "weight": 0.5}]
    ran = engine.run(language(file, "causal-lm", GPT, teacher, objective=terms, data={"on_policy": 1.0}))
    assert all(point["train/loss/clm"] == 0 for _, point in ran.curve() if "train/loss/clm" in point)


def test_the_control_writes_nothing(file: Path, teacher: Path) -> None:
    asked = spec(file, teacher, 0.5, evaluation={"control": True})
    student, control = (run.spec for run in asked.runs())
    assert student.shown.on_policy == 0.5 and control.shown.on_policy == 0 and control.kind == "train"
    assert (
        asked.resolved().data.on_policy == 0.5
        and parse_spec(asked.resolved().model_dump(mode="json", exclude_none=True)).data.on_policy == 0.5
    )


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"recipe": None, "objective": [{"loss": "clm"}], "data": {"on_policy": 0.5}}, "data.on_policy"),
        ({"teacher_outputs": "cached"}, "teacher_outputs"),
        ({"recipe": {"name": "gkd", "on_policy": 2}}, "recipe.on_policy"),
    ],
    ids=str,
)
def test_what_cannot_be_on_policy_is_refused_at_its_field(file: Path, teacher: Path, changes: dict[str, Any], param: str) -> None:
    document = spec(file, teacher).model_dump(mode="json", exclude_none=True)
    document |= {name: document["data"] | value if name == "data" else value for name, value in changes.items()}
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({name: value for name, value in document.items() if value is not None})
    assert caught.value.param == param, caught.value.detail


def test_other_tasks_and_networks_that_cannot_write_are_refused(engine: Engine, file: Path, teacher: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"recipe\.name: students of causal-lm write"):
        language(file, "masked-lm", {"arch": "bert"}, teacher, recipe="gkd")
    with pytest.raises(InvalidSpec, match=r"data\.on_policy: this network cannot write texts"):
        engine.run(language(file, "causal-lm", {"arch": "lstm", "embedding": 8, "hidden": 8}, teacher, recipe="gkd"))


def test_what_a_folder_says_of_writing_does_not_change_what_is_drawn(teacher: Path) -> None:
    """Published models come with temperatures and penalties for chats; drawn is from the student's own distribution."""
    network, _ = load(teacher)
    ids = torch.randint(5, network.reader.vocabulary, (8, 16), generator=torch.Generator().manual_seed(1))
    given = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids), torch.arange(3))
    drawn = []
    for said in ({}, {"temperature": 0.1, "repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "min_p": 0.9}):
        network.inner.generation_config.update(**said)
        torch.manual_seed(0)
        drawn.append(written(network, Batch(given, ids.flatten())).given.ids)
    assert drawn[0].equal(drawn[1]) and network.inner.generation_config.temperature == 0.1
