"""A loop by hand with every known trick: tokens in tensors, batches of like lengths, the teacher's logits kept in a file, bf16 where
the order says so, fused AdamW."""

from pathlib import Path

import torch
from shared import classifiers, clock, done, hinton, judged, order


def main() -> None:
    work = order()
    tokenizer, teacher, student, rows, labels = classifiers(work)
    kept = Path(work.cache) / "logits.pt"
    clock("begin")
    ids = [torch.tensor(row) for row in tokenizer(rows, truncation=True, max_length=work.max_length)["input_ids"]]
    y, lengths = torch.tensor(labels), torch.tensor([len(row) for row in ids])
    optimizer = torch.optim.AdamW(student.parameters(), lr=work.lr, weight_decay=0.0, fused=True)
    steps = work.epochs * -(-len(ids) // work.batch)
    clock("prepared")

    def batch(index: torch.Tensor) -> dict[str, torch.Tensor]:
        chosen = [ids[i] for i in index.tolist()]
        padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=tokenizer.pad_token_id)
        return {"input_ids": padded, "attention_mask": (torch.arange(padded.shape[1]) < lengths[index, None]).long()}

    if kept.exists():
        logits = torch.load(kept)
    else:
        logits = torch.empty(len(ids), student.config.num_labels)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=work.bf16):
            for index in lengths.argsort().split(64):
                logits[index] = teacher(**batch(index)).logits.float()
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(logits, kept)
    step = 0
    for _ in range(work.epochs):
        shuffled = torch.randperm(len(ids))
        batches = shuffled[lengths[shuffled].argsort(stable=True)].split(work.batch)
        for place in torch.randperm(len(batches)).tolist():
            index = batches[place]
            for group in optimizer.param_groups:
                group["lr"] = work.lr * (1 - step / steps)
            with torch.autocast("cpu", torch.bfloat16, enabled=work.bf16):
                z_s = student(**batch(index)).logits
            loss = hinton(z_s.float(), logits[index], y[index], work)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            step += 1
    clock("trained")
    done(work, work.tokens, **judged(student, tokenizer, work))


main()
