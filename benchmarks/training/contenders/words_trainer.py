"""Hugging Face's Trainer with a distillation loss over tokens in `compute_loss`, bf16 where the order says so, fused AdamW, nothing logged
or saved."""

from tempfile import TemporaryDirectory

import torch
from shared import blocks, clock, done, judged_words, language_models, masked, of_tokens, order, settings
from torch.nn.functional import pad
from transformers import Trainer, TrainingArguments


class Distilling(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        shown, labels = inputs["input_ids"], inputs["labels"]
        with torch.no_grad():
            z_t = self.teacher(input_ids=shown).logits
        said = model(input_ids=shown)
        loss = of_tokens(said.logits.flatten(0, 1).float(), z_t.flatten(0, 1).float(), labels.flatten(), self.work)
        return (loss, said) if return_outputs else loss


def main() -> None:
    work = order()
    teacher, student = language_models(work)
    clock("begin")

    def collated(rows):
        ids = torch.stack([row["input_ids"] for row in rows])
        shown, labels = masked(ids, work) if work.task == "masked" else (ids, pad(ids[:, 1:], (0, 1), value=-100))
        return {"input_ids": shown, "labels": labels}

    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(**settings(work, folder))
        rows = [{"input_ids": ids, "labels": ids} for ids in blocks(work)]
        trainer = Distilling(model=student, args=arguments, train_dataset=rows, data_collator=collated)
        trainer.teacher, trainer.work = teacher, work
        clock("prepared")
        trainer.train()
        clock("trained")
    done(work, work.tokens, **judged_words(student, work))


main()
