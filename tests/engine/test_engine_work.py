"""What the contract says a pass costs, beside what torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from contract.model import ModelConfig
from contract.registry import ARCHITECTURES, T5, Bert, Bilstm, Cnn, Gpt2, Gru, Llama, Logistic, Lstm, Mlp, Qwen2, Resnet, Textcnn
from distill.networks.build import build

IMAGES = [Logistic(), Mlp(hidden=[40, 30]), Cnn(channels=[4, 8, 6]), Resnet(channels=[4, 8], blocks=2)]
TOKENS, VOCABULARY = 24, 300


def counted(network: torch.nn.Module, *given: torch.Tensor, **named: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*given, **named)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("arch", IMAGES, ids=lambda arch: arch.key())
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 13)])
def test_multiplications_of_a_row_are_those_that_torch_counts(arch, shape):
    assert arch.work(shape, 7).multiply_adds == counted(build(arch, shape, 7).eval(), torch.rand(1, *shape))


@pytest.mark.parametrize("arch", [Textcnn(embedding=16, channels=8), Textcnn(embedding=8, channels=20, widths=[2])], ids=["three", "one"])
def test_multiplications_of_a_text(arch):
    network = build(arch, (VOCABULARY,), 5).eval()
    ids = torch.zeros(1, TOKENS, dtype=torch.int64)
    assert arch.work((VOCABULARY,), 5, TOKENS).multiply_adds == counted(network, ids, torch.ones_like(ids, dtype=torch.bool))


TRANSFORMERS = [Bert(hidden=32), Gpt2(hidden=32, layers=3), Llama(hidden=32), Qwen2(hidden=32), T5(hidden=32)]
HEADS = [
    (arch, classes) for arch in TRANSFORMERS for classes in (5, 0) if not (classes and isinstance(arch, T5))
]  # T5 has none for classes


@pytest.mark.parametrize(
    ("arch", "classes"), HEADS, ids=[f"{arch.key()}-{'classes' if classes else 'language'}" for arch, classes in HEADS]
)
def test_multiplications_of_transformers(arch, classes):
    """Within a tenth: attention's own products are not counted where one kernel does all of it, and heads differ."""
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
    )

    head = (
        AutoModelForCausalLM
        if "causal-lm" in arch.SERVES
        else AutoModelForMaskedLM
        if "masked-lm" in arch.SERVES
        else AutoModelForSeq2SeqLM
    )
    auto = AutoModelForSequenceClassification if classes else head
    given = {**arch.settings(), "vocab_size": VOCABULARY, "pad_token_id": 0, **({"num_labels": classes} if classes else {})}
    network = auto.from_config(AutoConfig.for_model(arch.arch, **given), attn_implementation="eager").eval()
    ids = torch.ones(1, TOKENS, dtype=torch.int64)
    named = {"input_ids": ids, **({"decoder_input_ids": ids} if isinstance(arch, T5) else {})}
    assert arch.work((VOCABULARY,), classes, TOKENS).multiply_adds == pytest.approx(counted(network, **named), rel=0.1)


@pytest.mark.parametrize(
    "arch",
    [Lstm(embedding=16, hidden=8, layers=2), Bilstm(embedding=8, hidden=12), Gru(embedding=8, hidden=12)],
    ids=lambda arch: arch.key(),
)
def test_recurrent_networks_use_each_matrix_once_for_each_token(arch):
    """Torch counts none of theirs; their matrices are all parameters but biases and embeddings."""
    network = build(arch, (VOCABULARY,), 5)
    matrices = sum(p.numel() for name, p in network.layers.named_parameters() if "weight" in name)
    assert arch.work((VOCABULARY,), 5, TOKENS).multiply_adds == TOKENS * matrices + network.classifier.weight.numel()


@pytest.mark.parametrize("kind", ARCHITECTURES, ids=lambda kind: kind.key())
def test_every_architecture_counts_its_work(kind):
    """One without would be accepted, and `validate` would fail."""
    arch = kind(hidden=[4]) if kind is Mlp else kind()
    text = arch.READS == "text"
    some, more = (arch.work((VOCABULARY,) if text else (1, 16, 16), 5, tokens) for tokens in (TOKENS, 2 * TOKENS))
    assert min(some) > 0 and more.multiply_adds >= some.multiply_adds and more.values >= some.values


def test_of_an_uploaded_transformer_the_weights_are_a_bound():
    arch = Bert(hidden=64, layers=2)
    weights = arch.parameters((VOCABULARY,), 0)
    document = {"model_type": "bert", "vocab_size": VOCABULARY, "architectures": ["BertForMaskedLM"], "potstill": {"weights": weights}}
    bound, exact = ModelConfig.read(document).work(TOKENS), arch.work((VOCABULARY,), 0, TOKENS)
    assert bound.multiply_adds == TOKENS * weights >= exact.multiply_adds
    assert bound.values >= exact.values and bound.kernels >= exact.kernels
