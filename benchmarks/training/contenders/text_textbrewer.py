"""TextBrewer's BasicDistiller with `is_caching_logits`, which its documentation names for small and medium data: the teacher is asked once.
No TensorBoard, one checkpoint at the end."""

from tempfile import TemporaryDirectory

import torch
from shared import classifiers, clock, columns, done, judged, linear, order
from textbrewer import BasicDistiller, DistillationConfig, TrainingConfig
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def main() -> None:
    work = order()
    found = classifiers(work)
    tokenizer, teacher, student = found[:3]
    clock("begin")
    data = columns(found, work)
    collate = DataCollatorWithPadding(tokenizer)
    loader = DataLoader(data, batch_size=work.batch, shuffle=True, collate_fn=lambda batch: dict(collate(batch)))
    optimizer = torch.optim.AdamW(student.parameters(), lr=work.lr, weight_decay=0.0)

    def said(_batch: object, out: object) -> dict[str, object]:
        return {"logits": out.logits, "losses": out.loss}

    with TemporaryDirectory() as folder:
        training = TrainingConfig(output_dir=folder, device="cpu", ckpt_frequency=1, ckpt_epoch_frequency=work.epochs)
        # Its soft cross-entropy has no T²; the weight brings it.
        distilling = DistillationConfig(
            temperature=work.temperature,
            kd_loss_type="ce",
            kd_loss_weight=work.alpha * work.temperature**2,
            hard_label_weight=1 - work.alpha,
            is_caching_logits=True,
        )
        distiller = BasicDistiller(training, distilling, teacher, student, said, said)
        clock("prepared")
        schedule = {"scheduler_class": linear, "scheduler_args": {"steps": work.epochs * len(loader)}}
        with distiller:
            distiller.train(optimizer, loader, num_epochs=work.epochs, max_grad_norm=1.0, **schedule)
        clock("trained")
    done(work, work.tokens, **judged(student, tokenizer, work))


main()
