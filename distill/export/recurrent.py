"""LSTM and GRU as the operators of ONNX. torch's exporter would roll them out to as many steps as its example has tokens."""

from typing import Any

import torch
from torch import Tensor, nn

# Where ONNX has torch's gates: input, output, forget, cell; update, reset, hidden.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


class Unpacked(nn.Module):
    """The same layers, told where each text ends instead of being given packed ones (https://onnx.ai/onnx/operators/onnx__LSTM.html)."""

    def __init__(self, layers: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.kind, self.hidden, self.count = layers.mode, layers.hidden_size, layers.num_layers
        self.ends = ["", "_reverse"] if layers.bidirectional else [""]
        for number in range(self.count):
            weight, recurrent = (self._stacked(layers, f"weight_{which}_l{number}") for which in ("ih", "hh"))
            bias = torch.cat([self._stacked(layers, f"bias_{which}_l{number}") for which in ("ih", "hh")], dim=1)
            for name, tensor in (("w", weight), ("r", recurrent), ("b", bias)):
                self.register_buffer(f"{name}{number}", tensor)

    def _stacked(self, layers: nn.Module, name: str) -> Tensor:
        """[directions, gates · hidden, …], gates in ONNX's order."""
        order = GATES[self.kind]
        return torch.stack([torch.cat([getattr(layers, name + end).detach().chunk(len(order))[i] for i in order]) for end in self.ends])

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Vectors [B, L, E] and lengths [B] → states [B, L, directions · hidden], 0 behind each end."""
        x = x.transpose(0, 1)
        attributes: dict[str, Any] = {"hidden_size": self.hidden, "direction": "bidirectional" if len(self.ends) > 1 else "forward"}
        if self.kind == "GRU":
            attributes["linear_before_reset"] = 1  # as torch has it
        for number in range(self.count):
            weights = [getattr(self, f"{name}{number}") for name in "wrb"]
            states = torch.onnx.ops.symbolic(
                self.kind,
                (x, *weights, lengths.to(torch.int32)),
                attributes,
                dtype=x.dtype,
                shape=(x.shape[0], len(self.ends), x.shape[1], self.hidden),
            )
            x = states.transpose(1, 2).flatten(2)
        return x.transpose(0, 1)
