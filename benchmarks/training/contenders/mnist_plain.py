"""The loop of the articles for a small network: DataLoader, teacher at every step, Adam. Several seeds and arms one after another."""

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from shared import clock, done, hinton, order
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def network(hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def main() -> None:
    work = order()
    teacher = network(16)
    teacher.load_state_dict(load_file(f"{work.teacher}/model.safetensors"))
    teacher.eval()
    clock("begin")
    with np.load(work.train) as found:
        x, y = (torch.from_numpy(found[name]) for name in ("x_train", "y_train"))
        x_test, y_test = (torch.from_numpy(found[name]) for name in ("x_test", "y_test"))
    rows = TensorDataset(x[: work.rows].float() / 255, y[: work.rows].long())
    clock("prepared")
    students = []
    for seed in range(work.seed, work.seed + work.seeds):
        for taught in (True, False)[: work.arms]:
            torch.manual_seed(seed)
            student = network(4)
            optimizer = torch.optim.Adam(student.parameters(), lr=work.lr)
            loader = DataLoader(rows, batch_size=work.batch, shuffle=True)
            for _ in range(work.epochs):
                for features, labels in loader:
                    z_s = student(features)
                    if taught:
                        with torch.no_grad():
                            z_t = teacher(features)
                        loss = hinton(z_s, z_t, labels, work)
                    else:
                        loss = F.cross_entropy(z_s, labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            if taught:
                students.append(student)
    clock("trained")
    with torch.inference_mode():
        logits = [student(x_test.float() / 255) for student in students]
    loss = [F.cross_entropy(z, y_test.long()).item() for z in logits]
    accuracy = [(z.argmax(1) == y_test).float().mean().item() for z in logits]
    done(work, loss=sum(loss) / len(loss), accuracy=sum(accuracy) / len(accuracy))


main()
