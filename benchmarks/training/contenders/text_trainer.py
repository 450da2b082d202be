"""Hugging Face's Trainer with a distillation loss in `compute_loss`: batches grouped by length, bf16 where the order
says so, fused AdamW, nothing logged or saved."""

from tempfile import TemporaryDirectory

import torch
from shared import classifiers, clock, columns, done, hinton, judged, order, settings
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments


class Distilling(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        y = inputs.pop("labels")
        with torch.no_grad():
            z_t = self.teacher(**inputs).logits
        said = model(**inputs)
        loss = hinton(said.logits, z_t, y, self.work)
        return (loss, said) if return_outputs else loss


def main() -> None:
    work = order()
    found = classifiers(work)
    tokenizer, teacher, student = found[:3]
    clock("begin")
    data = [{**row, "length": len(row["input_ids"])} for row in columns(found, work)]
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(**settings(work, folder), train_sampling_strategy="group_by_length")
        trainer = Distilling(model=student, args=arguments, train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer))
        trainer.teacher, trainer.work = teacher, work
        clock("prepared")
        trainer.train()
        clock("trained")
    done(work, work.tokens, **judged(student, tokenizer, work))


main()
