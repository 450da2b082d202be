"""The loop of the articles: tokenizer, DataLoader with dynamic padding, the teacher asked at every step."""

import torch
from shared import classifiers, clock, columns, done, hinton, judged, learn, linear, order
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding


def main() -> None:
    work = order()
    found = classifiers(work)
    tokenizer, teacher, student = found[:3]
    clock("begin")
    data = columns(found, work)
    loader = DataLoader(data, batch_size=work.batch, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer))
    optimizer = torch.optim.AdamW(student.parameters(), lr=work.lr, weight_decay=0.0)
    schedule = linear(optimizer, work.epochs * len(loader))
    clock("prepared")
    for _ in range(work.epochs):
        for batch in loader:
            y = batch.pop("labels")
            with torch.no_grad():
                z_t = teacher(**batch).logits
            loss = hinton(student(**batch).logits, z_t, y, work)
            learn(loss, student, optimizer, schedule)
    clock("trained")
    done(work, work.tokens, **judged(student, tokenizer, work))


main()
