"""The loop of the articles: tokenizer, DataLoader with dynamic padding, the teacher asked at every step."""

import torch
from shared import clock, done, hinton, judged, linear, order, texts
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding


def main() -> None:
    work = order()
    tokenizer = AutoTokenizer.from_pretrained(work.teacher)
    teacher = AutoModelForSequenceClassification.from_pretrained(work.teacher).eval()
    student = AutoModelForSequenceClassification.from_pretrained(work.student).train()
    rows, labels = texts(work.train)
    clock("begin")
    read = tokenizer(rows, truncation=True, max_length=work.max_length)
    data = [{**{name: column[i] for name, column in read.items()}, "labels": labels[i]} for i in range(len(rows))]
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
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    clock("trained")
    done(work, work.epochs * sum(map(len, read["input_ids"])), **judged(student, tokenizer, work))


main()
