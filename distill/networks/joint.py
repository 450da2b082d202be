"""Several networks that teach as one."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.model import ModelConfig
from contract.networks import Ensemble
from distill.data.batch import Given
from distill.networks.build import logits_of
from distill.objectives import Said

ROUNDS = 100  # of learning the weights; each makes the labels likelier, most do so early


class Joint(nn.Module):
    """Members' answers put together; `weights` [K], which add up to one, or by how sure each is of a row."""

    def __init__(self, members: Sequence[tuple[nn.Module, ModelConfig]], spec: Ensemble) -> None:
        super().__init__()
        self.members = nn.ModuleList(network for network, _ in members)
        self.configs = [config for _, config in members]
        self.combine: Literal["probabilities", "logits"] = spec.combine
        self.by_entropy = spec.weights == "entropy"
        given = spec.weights if isinstance(spec.weights, list) else [1.0] * len(spec.ensemble)
        self.weights = torch.tensor(given) / sum(given)

    def each(self, given: Given) -> Tensor:
        """Logits [K, B, C]."""
        pairs = zip(self.members, self.configs, strict=True)
        return torch.stack([logits_of(network, config, given).float() for network, config in pairs])

    def forward(self, given: Given) -> Tensor:
        """Logits [B, C] at temperature 1."""
        return self.together(self.each(given), 1.0)

    def told(self, given: Given) -> Said:
        return self.said(self.each(given))

    def said(self, each: Tensor) -> Said:
        """Of members' logits [K, B, C]: what is softened is each member's answer, not their common one."""
        k, rows, classes = each.shape

        def common(flat: Tensor, temperature: float = 1.0) -> Tensor:
            return self.together(flat.reshape(len(flat), k, classes).transpose(0, 1), temperature)

        flat = each.transpose(0, 1).reshape(rows, k * classes)
        return Said(flat, common, classes, beside=lambda x, _z_s, temperature: common(x, temperature))

    def together(self, each: Tensor, temperature: float) -> Tensor:
        """Logits [B, C] whose softmax at this temperature is the members' mean; of logits [K, B, C]."""
        w = self._weights(each)
        if self.combine == "logits":
            return (w * each).sum(0)
        return temperature * torch.logsumexp(F.log_softmax(each / temperature, dim=-1) + w.log(), dim=0)

    def _weights(self, each: Tensor) -> Tensor:
        """[K, 1, 1], or [K, B, 1] where the surer members of a row say more: softmax of −entropy (Kwon et al. 2020)."""
        if not self.by_entropy:
            return self.weights.to(each.device)[:, None, None]
        log_p = F.log_softmax(each, dim=-1)
        return F.softmax((log_p.exp() * log_p).sum(-1, keepdim=True), dim=0)

    def learn(self, each: Tensor, labels: Tensor) -> None:
        """Weights under which the labels [N] are likeliest, by expectation maximisation of the mixture (Dempster et al. 1977); there is
        but one best mixture."""
        right = F.log_softmax(each.double(), dim=-1).exp()[:, torch.arange(len(labels)), labels]  # [K, N]
        weights = self.weights.double()
        for _ in range(ROUNDS):
            parts = weights[:, None] * right.cpu()
            weights = (parts / parts.sum(0).clamp(min=1e-300)).mean(1)
        self.weights = (weights / weights.sum()).float()
