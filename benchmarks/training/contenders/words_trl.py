"""TRL's GKDTrainer off policy (lmbda 0) with the forward divergence (beta 0), bf16 where the order says so, fused AdamW. Its loss is the
divergence alone, at temperature 1, and so is everybody's in this task."""

from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from shared import blocks, clock, done, judged_words, language_models, order
from transformers import AutoTokenizer
from trl.experimental.gkd import GKDConfig, GKDTrainer


def main() -> None:
    work = order()
    teacher, student = language_models(work)
    tokenizer = AutoTokenizer.from_pretrained(work.teacher)
    clock("begin")

    def collated(rows):
        ids = torch.tensor([row["input_ids"] for row in rows])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}

    with TemporaryDirectory() as folder:
        settings = GKDConfig(
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
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            seed=work.seed,
            lmbda=0.0,
            beta=0.0,
            temperature=1.0,
            max_length=None,
        )
        rows = Dataset.from_list([{"input_ids": ids.tolist()} for ids in blocks(work)])
        trainer = GKDTrainer(student, teacher, settings, collated, rows, processing_class=tokenizer)
        clock("prepared")
        trainer.train()
        clock("trained")
    done(work, work.tokens, **judged_words(student, work))


main()
