"""The terms that look inside, against float64 references made of what the library itself says of states and attention."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_references import log_softmax, softmax
from engine_runs import Engine, Ran, small
from engine_texts import STUDENTS, TRANSFORMER, language, texts, write_texts
from torch import Tensor

from contract import registry
from contract.check import parse_spec
from contract.errors import InvalidSpec
from distill.data.load import load as load_data
from distill.inner import comparison
from distill.inner_losses import cosine, hidden_mse, rkd, value_relation
from distill.inputs import Inputs
from distill.inside import Heads, Looks
from distill.networks import heads, load, rows_for, said_of
from distill.objectives import Counts, Objective

BERT = {"arch": "bert", **TRANSFORMER, "dropout": 0.0}
DEEP = BERT | {"layers": 4, "hidden": 24}
LOOKS: Looks = frozenset({"states", "heads"})


class Pair:
    """A trained teacher of four layers of 24, a student of two of 16 that reads by its tokenizer, and 9 texts of several lengths."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        path = write_texts(folder / "texts.jsonl")
        self.path, self.teacher = path, engine.run(texts(path, student=DEEP, training={"epochs": 1})).student
        spec = texts(path, student=BERT | {"layers": 2}, tokenizer={"path": str(self.teacher)}, training={"epochs": 1})
        self.student = engine.run(spec).student
        self.networks = [load(folder) for folder in (self.student, self.teacher)]
        for network, _ in self.networks:
            heads.show(network.inner)
        split = load_data(spec, Inputs.local(spec, engine.cache)).train
        self.rows = rows_for(*self.networks[0], split)
        self.batch = self.rows.batch(torch.arange(9))
        self.said = [said_of(network, config, self.batch.given, LOOKS) for network, config in self.networks]

    def value(self, term: Any) -> tuple[float, Any]:
        """Of these texts, and what was learned along."""
        torch.manual_seed(0)
        found = comparison(term, "objective.0", self.said[0].inside, self.said[1].inside)
        total, _ = Objective([term], {0: found})(self.said[0], self.batch.labels, self.said[1])
        return float(total.detach()), found

    def library(self, folder: Path) -> Any:
        """States and attention of each layer as transformers tells them, in float64."""
        from transformers import AutoModel

        network = AutoModel.from_pretrained(folder, attn_implementation="eager").double().eval()
        given = self.batch.given
        with torch.no_grad():
            told = network(
                input_ids=given.ids, attention_mask=given.mask.long(), token_type_ids=given.segments, output_hidden_states=True,
                output_attentions=True,
            )  # fmt: skip
        return network, [h.numpy() for h in told.hidden_states], [a.numpy() for a in told.attentions]

    @property
    def lengths(self) -> list[int]:
        return self.batch.given.mask.sum(1).tolist()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("inner")
    return Pair(Engine(folder), folder)


def each(lengths: list[int], of_row: Callable[[int, int], Any]) -> float:
    return float(np.mean([of_row(row, length) for row, length in enumerate(lengths)]))


MAPS: list[tuple[Any, list[tuple[int, int]]]] = [
    ("final", [(2, 4)]), ("uniform", [(1, 2), (2, 4)]), ("skip", [(1, 2)]), ("last", [(1, 3)]), ([[0, 0], [1, 3]], [(0, 0), (1, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "pairs"), MAPS, ids=str)
def test_hidden_mse_is_the_mean_over_real_tokens_of_each_pair(pair: Pair, layers: Any, pairs: list[tuple[int, int]]) -> None:
    value, found = pair.value(registry.HiddenMse(layers=layers))
    _, mine, _ = pair.library(pair.student)
    _, theirs, _ = pair.library(pair.teacher)
    (projection,) = found.projections.values()  # one for all pairs: all are 16 → 24
    w = projection.weight.detach().double().numpy()
    there = pair.batch.given.mask.numpy()
    expected = sum(float(np.mean((mine[a][there] @ w.T - theirs[b][there]) ** 2)) for a, b in pairs)
    assert found.pairs == pairs
    assert value == pytest.approx(expected, rel=1e-4)


def test_embedding_mse_compares_what_goes_into_the_first_layer(pair: Pair) -> None:
    assert pair.value(registry.EmbeddingMse())[0] == pytest.approx(pair.value(registry.HiddenMse(layers=[[0, 0]]))[0])


def test_pkd_compares_first_tokens_brought_to_length_one(pair: Pair) -> None:
    value, found = pair.value(registry.Pkd())
    (w,) = (projection.weight.detach().double().numpy() for projection in found.projections.values())
    mine, theirs = pair.library(pair.student)[1][1][:, 0] @ w.T, pair.library(pair.teacher)[1][2][:, 0]
    unit = [h / np.linalg.norm(h, axis=1, keepdims=True) for h in (mine, theirs)]
    assert value == pytest.approx(float(np.mean(np.sum((unit[0] - unit[1]) ** 2, axis=1))), rel=1e-4)


def test_attention_mse_compares_scores_computed_by_hand(pair: Pair) -> None:
    """From the weights of each layer and the states that go into it."""

    def scores(folder: Path, layer: int) -> Any:
        network, states, _ = pair.library(folder)
        attention = network.encoder.layer[layer - 1].attention.self
        q, k = (
            (states[layer - 1] @ part.weight.detach().numpy().T + part.bias.detach().numpy()).reshape(9, states[0].shape[1], 2, -1)
            for part in (attention.query, attention.key)
        )
        return np.einsum("bihd,bjhd->bhij", q, k) / np.sqrt(q.shape[-1])

    expected = 0.0
    for a, b in ((1, 2), (2, 4)):
        mine, theirs = scores(pair.student, a), scores(pair.teacher, b)
        expected += each(pair.lengths, lambda row, n, m=mine, t=theirs: np.mean((m - t)[row, :, :n, :n] ** 2))
    assert pair.value(registry.AttentionMse(layers="uniform"))[0] == pytest.approx(expected, rel=1e-4)


def test_attention_kl_compares_the_librarys_own_attention(pair: Pair) -> None:
    mine, theirs = pair.library(pair.student)[2][1], pair.library(pair.teacher)[2][3]

    def of_row(row: int, n: int) -> Any:
        s, t = mine[row, :, :n, :n], theirs[row, :, :n, :n]
        return np.mean(np.sum(t * (np.log(t) - np.log(s)), axis=-1))

    assert pair.value(registry.AttentionKl())[0] == pytest.approx(each(pair.lengths, of_row), rel=1e-3)


@pytest.mark.parametrize("relation_heads", [None, 4])
def test_value_relation_compares_which_values_are_alike(pair: Pair, relation_heads: int | None) -> None:
    def relation(folder: Path, layer: int) -> Any:
        network, states, _ = pair.library(folder)
        part = network.encoder.layer[layer - 1].attention.self.value
        v = (states[layer - 1] @ part.weight.detach().numpy().T + part.bias.detach().numpy()).reshape(
            9, states[0].shape[1], relation_heads or 2, -1
        )
        return np.einsum("bihd,bjhd->bhij", v, v) / np.sqrt(v.shape[-1])

    mine, theirs = relation(pair.student, 2), relation(pair.teacher, 4)

    def of_row(row: int, n: int) -> Any:
        s, t = log_softmax(mine[row, :, :n, :n]), log_softmax(theirs[row, :, :n, :n])
        return np.mean(np.sum(softmax(theirs[row, :, :n, :n]) * (t - s), axis=-1))

    value, _ = pair.value(registry.ValueRelation(relation_heads=relation_heads))
    assert value == pytest.approx(each(pair.lengths, of_row), rel=1e-3)


def test_rkd_compares_distances_and_angles(pair: Pair) -> None:
    mine, theirs = pair.library(pair.student)[1][2][:, 0], pair.library(pair.teacher)[1][4][:, 0]

    def huber(x: Any) -> Any:
        return np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5)

    def distances(h: Any) -> Any:
        d = np.array([[np.linalg.norm(a - b) for b in h] for a in h])
        return d / np.mean([np.linalg.norm(a - b) for a, b in combinations(h, 2)])

    def angles(h: Any) -> Any:
        found = np.zeros((9, 9, 9))
        for i, j, k in np.ndindex(9, 9, 9):
            if i not in (j, k):
                one, other = h[j] - h[i], h[k] - h[i]
                found[i, j, k] = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        return found

    expected = 3 * np.mean(huber(distances(mine) - distances(theirs))) + 5 * np.mean(huber(angles(mine) - angles(theirs)))
    assert pair.value(registry.Rkd(distance=3.0, angle=5.0))[0] == pytest.approx(float(expected), rel=1e-3)


def test_the_same_network_differs_in_nothing(pair: Pair) -> None:
    """All that needs no regressor."""
    terms = [registry.Cosine, registry.HiddenMse, registry.EmbeddingMse, registry.AttentionMse, registry.AttentionKl]
    for made in [*terms, registry.ValueRelation, registry.Pkd, registry.Rkd]:
        term = made()
        inside = pair.said[1].inside
        found = Objective([term], {0: comparison(term, "objective.0", inside, inside)})(pair.said[1], pair.batch.labels, pair.said[1])
        assert found[0].item() == pytest.approx(0, abs=1e-5), term.loss


@pytest.mark.parametrize(
    "term",
    [registry.HiddenMse(layers="uniform"), registry.AttentionMse(), registry.AttentionKl(), registry.ValueRelation(), registry.Pkd()],
    ids=lambda term: term.loss,
)
def test_parts_of_a_step_add_up_to_the_whole(pair: Pair, term: Any) -> None:
    """Rows and tokens count alike, whatever part they come in: a mean of means would not."""
    compared = {0: comparison(term, "objective.0", pair.said[0].inside, pair.said[1].inside)}
    objective = Objective([term], compared)
    whole = float(objective(pair.said[0], pair.batch.labels, pair.said[1])[0])
    batches = [pair.rows.batch(part) for part in torch.arange(9).split(4)]
    counts, found = Counts.of(batches), 0.0
    for batch in batches:
        mine, theirs = (said_of(network, config, batch.given, LOOKS) for network, config in pair.networks)
        found += float(objective(mine, batch.labels, theirs, counts)[0])
    assert found == pytest.approx(whole, rel=1e-4)


TERMS = [
    {"loss": "hidden_mse", "layers": "uniform"}, {"loss": "embedding_mse"}, {"loss": "attention_mse", "layers": "uniform"},
    {"loss": "attention_kl"}, {"loss": "value_relation"}, {"loss": "pkd"}, {"loss": "rkd"}, {"loss": "adversarial", "weight": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term["loss"])
def test_a_student_learns_by_it_and_resumes_exactly(engine: Engine, pair: Pair, term: dict[str, Any]) -> None:
    spec = texts(pair.path, teacher=pair.teacher, student=BERT | {"layers": 2}, objective=[term, {"loss": "cross_entropy", "weight": 0.1}])
    whole = engine.run(spec)
    assert _falls(whole) or term["loss"] == "adversarial"
    assert whole.report["teacher_outputs"]["mode"] == ("live" if term["loss"] != "adversarial" else "cached")
    half = engine.run(spec, stop_after=5)
    assert engine.run(spec, resume=half.checkpoints).weights == whole.weights


def _falls(ran: Ran) -> bool:
    losses = [values["train/loss"] for _, values in ran.curve() if "train/loss" in values]
    return losses[-1] < losses[0]


CNN, WIDE = {"arch": "cnn", "channels": [4, 8], "hidden": 8}, {"arch": "cnn", "channels": [6, 12, 16], "hidden": 24}
RESNET = {"arch": "resnet", "channels": [4, 8, 16]}


@pytest.mark.parametrize(
    ("term", "teacher", "student"),
    [
        ({"loss": "attention_transfer"}, WIDE, CNN),
        ({"loss": "attention_transfer", "layers": "final"}, RESNET, CNN),
        ({"loss": "feature_hint", "layers": [[1, 2]]}, WIDE, CNN),
        ({"loss": "feature_hint"}, RESNET, {"arch": "mlp", "hidden": [6]}),
        ({"loss": "rkd"}, WIDE, {"arch": "mlp", "hidden": [6]}),
        ({"loss": "adversarial", "weight": 0.1}, WIDE, {"arch": "mlp", "hidden": [6]}),
    ],
    ids=lambda part: part.get("loss", part.get("arch")),
)
def test_networks_of_images_learn_by_it(engine: Engine, term: dict[str, Any], teacher: Any, student: Any) -> None:
    taught = engine.run(small(student=teacher, training={"epochs": 1})).student
    spec = small(taught, student=student, objective=[term, {"loss": "cross_entropy", "weight": 0.1}])
    whole = engine.run(spec)
    assert _falls(whole) or term["loss"] == "adversarial"
    assert engine.run(spec, resume=engine.run(spec, stop_after=5).checkpoints).weights == whole.weights


def test_attention_transfer_and_feature_hint_are_what_their_papers_say(engine: Engine) -> None:
    taught = engine.run(small(student=WIDE, training={"epochs": 1})).student
    own = engine.run(small(student=CNN, training={"epochs": 1})).student
    spec = small()
    x = load_data(spec, Inputs.local(spec, engine.cache)).train.features[:5]
    said = [said_of(*load(folder), x, LOOKS) for folder in (own, taught)]
    states = [[state.double().detach().numpy() for state in one.inside.states] for one in said]
    assert [state.shape[1:] for state in states[0][1:]] == [(4, 4, 4), (8, 2, 2), (8,)]
    labels = torch.zeros(5, dtype=torch.long)

    def value(term: Any) -> tuple[float, Any]:
        found = comparison(term, "objective.0", said[0].inside, said[1].inside)
        return float(Objective([term], {0: found})(said[0], labels, said[1])[0]), found

    found, compared = value(registry.AttentionTransfer())
    assert compared.pairs == [(1, 2), (2, 3)]

    def attention(h: Any, size: int) -> Any:
        q = (h**2).sum(1)
        q = q.reshape(5, size, q.shape[1] // size, size, q.shape[2] // size).mean((2, 4)).reshape(5, -1)
        return q / np.linalg.norm(q, axis=1, keepdims=True)

    expected = 0.0
    for a, b, size in ((1, 2, 2), (2, 3, 1)):
        expected += float(np.mean(np.sum((attention(states[0][a], size) - attention(states[1][b], size)) ** 2, axis=1)))
    assert found == pytest.approx(expected, rel=1e-4)

    found, compared = value(registry.FeatureHint(layers=[[1, 2]]))
    (regressor,) = compared.projections.values()
    w, b = regressor.weight.detach().double().numpy()[:, :, 0, 0], regressor.bias.detach().double().numpy()
    pooled = states[0][1].reshape(5, 4, 2, 2, 2, 2).mean((3, 5))
    mapped = np.einsum("oc,bchw->bohw", w, pooled) + b[None, :, None, None]
    assert found == pytest.approx(float(np.mean((mapped - states[1][2]) ** 2)), rel=1e-4)


def test_the_judge_learns_to_tell_and_the_student_not_to_be_told() -> None:
    """The gradient that reaches the student is that of the judge's loss with its sign turned."""
    term = registry.Adversarial(hidden=4)
    torch.manual_seed(1)
    objective = Objective([term], classes=3)
    z, theirs = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3)
    from distill.objectives import Said

    total, _ = objective(Said.of(z), torch.zeros(6, dtype=torch.long), Said.of(theirs))
    total.backward()
    (judge,) = objective.judges.values()
    own = z.detach().double().requires_grad_()
    twin = torch.nn.Sequential(*judge).double()
    plain = (torch.log1p(torch.exp(-twin(theirs.double()))) + torch.log1p(torch.exp(twin(own)))).mean() / 2
    (slope,) = torch.autograd.grad(plain, own)
    assert float(total) == pytest.approx(float(plain), rel=1e-5)
    assert torch.allclose(z.grad.double(), -slope, atol=1e-7)


TWO = BERT | {"layers": 2}
LAYERS, TERM = "objective.0.layers", "objective.0"


@pytest.mark.parametrize(
    ("student", "term", "param", "said"),
    [
        (TWO, {"loss": "cosine"}, TERM, "states of equal width; the student's have 16 values, the teacher's 24"),
        (TWO, {"loss": "hidden_mse", "layers": [[3, 1]]}, LAYERS, "the student has no layer 3; it has 1 to 2"),
        (TWO, {"loss": "hidden_mse", "layers": [[1, 9]]}, LAYERS, "the teacher has no layer 9"),
        (BERT | {"layers": 6}, {"loss": "hidden_mse", "layers": "uniform"}, LAYERS, "the student has 6 layers and the teacher 4"),
        (BERT | {"layers": 1}, {"loss": "pkd"}, LAYERS, "`skip` leaves out the final layer"),
        (BERT | {"heads": 4}, {"loss": "attention_kl"}, TERM, "the student has 4, the teacher 2"),
        (BERT | {"heads": 4}, {"loss": "value_relation", "relation_heads": 5}, "objective.0.relation_heads", "cannot be cut into 5"),
        (BERT, {"loss": "attention_kl", "layers": [[0, 1]]}, LAYERS, "no attention before the first layer"),
        (STUDENTS["bilstm"], {"loss": "attention_mse"}, TERM, "the student has no attention to look at"),
        (STUDENTS["textcnn"], {"loss": "hidden_mse"}, TERM, "the student has no states of tokens to look at"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused_at_its_field(
    engine: Engine, pair: Pair, student: dict[str, Any], term: dict[str, Any], param: str, said: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        engine.run(texts(pair.path, teacher=pair.teacher, student=student, objective=[term], data={"max_length": 32}))
    assert caught.value.param == param and said in str(caught.value)


def test_images_without_maps_and_other_tokens_are_refused(engine: Engine, pair: Pair) -> None:
    taught = engine.run(small(student={"arch": "mlp", "hidden": [6]}, training={"epochs": 1})).student
    with pytest.raises(InvalidSpec, match="the teacher has no maps of an image to look at"):
        engine.run(small(taught, student=CNN, objective=[{"loss": "attention_transfer"}]))
    with pytest.raises(InvalidSpec, match="different vocabularies"):
        spec = texts(pair.path, teacher=pair.teacher, student=BERT, tokenizer={"vocabulary": 300}, objective=[{"loss": "hidden_mse"}])
        engine.run(spec)
    with pytest.raises(InvalidSpec, match=r"objective\.0\.layers: name each pair once"):
        parse_spec({**spec.model_dump(mode="json"), "objective": [{"loss": "hidden_mse", "layers": [[1, 1], [1, 1]]}]})


def test_a_causal_model_looks_inside_too(engine: Engine, pair: Pair) -> None:
    gpt = {"arch": "gpt2", "layers": 2, "hidden": 16, "heads": 2, "positions": 64, "dropout": 0.0}
    teacher = engine.run(language(pair.path, "causal-lm", gpt | {"layers": 3}, training={"epochs": 1})).student
    terms = [{"loss": "attention_kl"}, {"loss": "value_relation"}, {"loss": "hidden_mse", "layers": "uniform"}]
    ran = engine.run(language(pair.path, "causal-lm", gpt, teacher, objective=terms))
    assert _falls(ran)


def test_looking_changes_nothing_that_is_said(pair: Pair) -> None:
    for network, config in pair.networks:
        plain, looked = (said_of(network, config, pair.batch.given, looks).logits for looks in (frozenset(), LOOKS))
        assert torch.equal(plain, looked)
        heads.hide(network.inner)
        torch.testing.assert_close(said_of(network, config, pair.batch.given).logits, plain)
        heads.show(network.inner)
    assert replace(pair.said[0], inside=None).inside is None


def test_relations_of_rows_that_are_alike_have_a_gradient_that_ends() -> None:
    """Two rows that the student cannot tell apart, and its teacher can: between them there is no direction."""
    h_s = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, -1.0], [0.0, 1.0]], requires_grad=True)
    rkd(h_s, torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), 25.0, 50.0).backward()
    assert h_s.grad is not None and h_s.grad.abs().max() < 1e3


def test_what_is_compared_inside_is_not_computed_in_bf16() -> None:
    """Of attention scores and angles, differences count; the networks around them may be."""
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, 6, 8, generator=draw) for _ in range(3))
    heads, mask = Heads(query, key, value, 8**-0.5, torch.ones(2, 1, 6, 6, dtype=torch.bool)), torch.ones(2, 6, dtype=torch.bool)
    other = Heads(key, query, value + 0.01, 8**-0.5, heads.open)
    h = torch.randn(6, 4, generator=draw)

    def all_of_them() -> list[Tensor]:
        return [heads.scores, value_relation(heads, other, mask), rkd(h, h + 0.01, 25.0, 50.0)]

    plain = all_of_them()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(a.equal(b) for a, b in zip(plain, all_of_them(), strict=True))


def test_cosine_and_hidden_mse_are_their_formulas():
    h_s, h_t = torch.randn(5, 4), torch.randn(5, 4)
    a, b = h_s.double(), h_t.double()
    angle = 1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    assert cosine(h_s, h_t).item() == pytest.approx(angle.mean().item(), rel=1e-5)
    assert hidden_mse(h_s, h_t).item() == pytest.approx((a - b).square().mean().item(), rel=1e-5)
