"""The loop of the articles for a language model: blocks of the text, the teacher asked at every step, whole logits of both."""

import torch
from shared import blocks, clock, done, judged_words, language_models, learn, linear, masked, of_tokens, order
from torch.nn.functional import pad
from torch.utils.data import DataLoader


def main() -> None:
    work = order()
    teacher, student = language_models(work)
    clock("begin")
    loader = DataLoader(blocks(work), batch_size=work.batch, shuffle=True)
    optimizer = torch.optim.AdamW(student.parameters(), lr=work.lr, weight_decay=0.0)
    schedule = linear(optimizer, work.epochs * len(loader))
    clock("prepared")
    for _ in range(work.epochs):
        for ids in loader:
            shown, labels = masked(ids, work) if work.task == "masked" else (ids, pad(ids[:, 1:], (0, 1), value=-100))
            shown, labels = shown.to(work.device), labels.to(work.device)
            with torch.no_grad():
                z_t = teacher(input_ids=shown).logits
            z_s = student(input_ids=shown).logits
            loss = of_tokens(z_s.flatten(0, 1), z_t.flatten(0, 1), labels.flatten(), work)
            learn(loss, student, optimizer, schedule)
    clock("trained")
    done(work, work.tokens, **judged_words(student, work))


main()
