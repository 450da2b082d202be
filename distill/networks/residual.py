"""The residual block. Its source goes into the card of a student that has one, so it imports nothing but torch."""

import torch


class Residual(torch.nn.Module):
    """relu(F(x) + shortcut(x)), [B, before, H, W] → [B, after, H/stride, W/stride] (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        nn = torch.nn
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.arguments = f"{before}, {after}, {stride}"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))

    def __repr__(self) -> str:
        return f"Residual({self.arguments})"
