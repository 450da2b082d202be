"""Random crops and flips. They draw from torch's global generator, which checkpoints hold, so a resumed run sees the same images;
on the CPU, so that every device does."""

import torch
import torch.nn.functional as F
from torch import Tensor

from contract.sources import Augment


def augmented(images: Tensor, spec: Augment) -> Tensor:
    """Images [B, C, H, W] of any number type, each changed on its own."""
    count, _, height, width = images.shape
    if spec.flip:
        mirrored = (torch.rand(count) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if spec.crop:
        padded = F.pad(images, [spec.crop] * 4)
        offsets = torch.randint(0, 2 * spec.crop + 1, (2, count)).to(images.device)
        rows = offsets[0][:, None] + torch.arange(height, device=images.device)
        columns = offsets[1][:, None] + torch.arange(width, device=images.device)
        which = torch.arange(count, device=images.device)[:, None, None]
        images = padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return images
