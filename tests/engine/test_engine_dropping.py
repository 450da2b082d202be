"""Dropout on CPUs by one draw for four elements, and attention that drops by it: the same in the mean, and nothing else is changed."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from distill.networks import dropping
from distill.networks.dropping import attended, dropped

SHAPE = (64, 40, 50)  # 128,000 elements, not a multiple of the four of a draw in any row
NEXT_TO_NONE = 1e-9  # a share that takes the way of dropout, and drops nothing


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_stays(share, dtype):
    torch.manual_seed(0)
    found = dropped(torch.ones(SHAPE, dtype=dtype), share)
    gone = (found == 0).double()
    of = gone.numel()
    assert abs(gone.mean() - share) < 5 * (share * (1 - share) / of) ** 0.5
    assert found[found != 0].double().unique().tolist() == pytest.approx([1 / (1 - share)], rel=5e-3)
    # Neighbours, which four by four come of one draw, know nothing of each other.
    flat = gone.flatten()
    for apart in (1, 2, 3, 4):
        both = (flat[apart:] * flat[:-apart]).mean()
        assert abs(both - share**2) < 6 * share / of**0.5


def test_what_is_dropped_hangs_on_torchs_generator_alone():
    x = torch.ones(SHAPE)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = dropped(x, 0.1), dropped(x, 0.1)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(dropped(x, 0.1), first)
    assert torch.equal(dropped(x, 0.1), second)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_and_everything(share):
    assert torch.equal(dropped(torch.ones(SHAPE), share), torch.full(SHAPE, 1.0 - share))


def test_the_gradient_is_dropped_where_the_value_was():
    x = torch.randn(SHAPE, requires_grad=True)
    found = dropped(x, 0.3)
    found.sum().backward()
    assert torch.equal(x.grad == 0, found == 0)
    torch.testing.assert_close(x.grad * x, found)


class Module(nn.Module):
    def __init__(self, shared, causal):
        super().__init__()
        self.num_key_value_groups, self.is_causal = shared, causal


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shared", "mask", "causal"), [(1, "bool", False), (2, "bool", True), (1, "none", True), (2, "none", False), (1, "float", True)]
)
def test_attention_is_the_librarys(dtype, shared, mask, causal):
    torch.manual_seed(1)
    query, key, value = (torch.randn(3, heads, 9, 16).to(dtype).requires_grad_() for heads in (4, 4 // shared, 4 // shared))
    seen = torch.ones(3, 1, 9, 9, dtype=torch.bool).tril() if causal else torch.ones(3, 1, 9, 9, dtype=torch.bool)
    seen[1, :, :, 7:] = False
    seen[1, :, 7:, 0] = True
    given = {"bool": seen, "none": None, "float": torch.zeros(3, 1, 9, 9).masked_fill(~seen, -1e9).to(dtype)}[mask]
    found = {}
    for how in (attended, sdpa_attention_forward):
        more = {"dropout": NEXT_TO_NONE} if how is attended else {}
        out = how(Module(shared, causal), query, key, value, given, scaling=0.3, **more)[0]
        weight = torch.arange(out.numel()).reshape(out.shape).cos()
        found[how] = [out.float(), *(part.float() for part in torch.autograd.grad((out * weight).sum(), (query, key, value)))]
    near = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for mine, theirs in zip(found[attended], found[sdpa_attention_forward], strict=True):
        torch.testing.assert_close(mine, theirs, **near)


def test_attention_drops_weights_after_the_softmax():
    torch.manual_seed(0)
    query, key = torch.randn(2, 8, 4, 64, 8).unbind()
    value = torch.ones(8, 4, 64, 1)
    sums = attended(Module(1, False), query, key, value, None, dropout=0.5)[0]  # of the weights that stay, doubled
    assert sums.std() > 0.01
    assert sums.mean() == pytest.approx(1.0, abs=0.02)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
IDS = torch.arange(512).reshape(16, 32) % 50


@pytest.mark.parametrize(
    "make",
    [
        lambda: BertForSequenceClassification(BertConfig(**SMALL)),
        lambda: LlamaForCausalLM(LlamaConfig(**SMALL, num_key_value_heads=1, attention_dropout=0.1)),
    ],
)
def test_a_network_is_quickened_and_taken_back(make):
    torch.manual_seed(0)
    network = nn.Module()
    network.inner = make().eval()
    kinds, names = [type(module) for module in network.modules()], list(network.state_dict())
    before = network.inner(IDS).logits
    assert dropping.quickened(network)
    assert network.inner.config._attn_implementation == dropping.NAME
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network.inner(IDS).logits, before, rtol=1e-5, atol=1e-6)
    network.train()
    assert not torch.equal(network.inner(IDS).logits, network.inner(IDS).logits)
    dropping.as_written(network.eval())
    assert [type(module) for module in network.modules()] == kinds
    assert network.inner.config._attn_implementation == "sdpa"
    assert torch.equal(network.inner(IDS).logits, before)


def test_networks_without_it_stay():
    assert not dropping.quickened(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0)))


def test_training_draws_by_it(monkeypatch):
    """No number is drawn for each element: not in the network, not in its attention."""
    from torch.utils._python_dispatch import TorchDispatchMode

    called = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    network = nn.Module()
    network.inner = BertForSequenceClassification(BertConfig(**SMALL))
    network.train()
    monkeypatch.setattr(dropping, "WORTH", 1)
    dropping.quickened(network)
    with Watch():
        network.inner(IDS).logits.sum().backward()
    assert "random_" in called
    assert not called & {"bernoulli_", "native_dropout", "_scaled_dot_product_flash_attention_for_cpu"}
