"""Hugging Face's Trainer with a distillation loss in `compute_loss`: batches grouped by length, bf16 where the order
says so, fused AdamW, nothing logged or saved."""

from tempfile import TemporaryDirectory

import torch
from shared import classifiers, clock, columns, done, hinton, judged, order
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
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=work.epochs,
            per_device_train_batch_size=work.batch,
            learning_rate=work.lr,
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
            train_sampling_strategy="group_by_length",
            optim="adamw_torch_fused",
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=work.bf16,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            seed=work.seed,
        )
        trainer = Distilling(model=student, args=settings, train_dataset=data, data_collator=DataCollatorWithPadding(tokenizer))
        trainer.teacher, trainer.work = teacher, work
        clock("prepared")
        trainer.train()
        clock("trained")
    done(work, work.tokens, **judged(student, tokenizer, work))


main()
