"""Hugging Face's Trainer with a distillation loss over tokens in `compute_loss`, bf16 where the order says so, fused AdamW, nothing logged
or saved."""

from tempfile import TemporaryDirectory

import torch
from shared import blocks, clock, done, judged_words, language_models, masked, of_tokens, order
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
        settings = TrainingArguments(
            output_dir=folder,
            num_train_epochs=work.epochs,
            per_device_train_batch_size=work.batch,
            learning_rate=work.lr,
            lr_scheduler_type="linear",
            max_grad_norm=1.0,
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
        rows = [{"input_ids": ids, "labels": ids} for ids in blocks(work)]
        trainer = Distilling(model=student, args=settings, train_dataset=rows, data_collator=collated)
        trainer.teacher, trainer.work = teacher, work
        clock("prepared")
        trainer.train()
        clock("trained")
    done(work, work.tokens, **judged_words(student, work))


main()
