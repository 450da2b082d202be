"""TRL's GKDTrainer off policy (lmbda 0) with the forward divergence (beta 0), bf16 where the order says so, fused AdamW. Its loss is the
divergence alone, at temperature 1, and so is everybody's in this task."""

from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from shared import blocks, clock, done, judged_words, language_models, order, settings
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
        arguments = GKDConfig(**settings(work, folder), gradient_checkpointing=False, lmbda=0.0, beta=0.0, temperature=1.0, max_length=None)
        rows = Dataset.from_list([{"input_ids": ids.tolist()} for ids in blocks(work)])
        trainer = GKDTrainer(student, teacher, arguments, collated, rows, processing_class=tokenizer)
        clock("prepared")
        trainer.train()
        clock("trained")
    done(work, work.tokens, **judged_words(student, work))


main()
