"""Questions whose answers stand in a text, made of AG News: the headline with a name taken out, and the article's beginning that has it.

Of the names and numbers in a headline the longest is asked for that stands in the text exactly once, spelled alike; headlines without
one are left out. The first four fifths are for training.

    python -m benchmarks.results.cloze ag_news/test.jsonl train.jsonl test.jsonl
"""

import json
import re
import sys
from pathlib import Path

AGENCY = re.compile(r"\s*\([^()]*\)\s*$")  # "(Reuters)", which says nothing and stands in the text as well
NAME = re.compile(r"\b[A-Z0-9][\w'’.-]*\w(?: [A-Z0-9][\w'’.-]*\w){0,3}\b")


def question(title: str, text: str) -> dict[str, str] | None:
    """{"question", "context", "answer"}, or None where nothing can be asked for."""
    title = AGENCY.sub("", title)
    runs = {run for found in NAME.findall(title) for run in _parts(found.split(" "))}
    fitting = [run for run in runs if len(run) > 2 and text.count(run) == 1 and re.search(rf"(?<!\w){re.escape(run)}(?!\w)", text)]
    if not fitting:
        return None
    answer = max(sorted(fitting), key=len)
    return {"question": title.replace(answer, "what", 1), "context": text, "answer": answer}


def _parts(words: list[str]) -> list[str]:
    return [" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)]


def write(news: Path, train: Path, test: Path) -> None:
    rows = [json.loads(line) for line in news.read_text().splitlines()]
    made = [row for row in (question(row["title"], row["text"]) for row in rows) if row is not None]
    cut = len(made) * 4 // 5
    for path, part in ((train, made[:cut]), (test, made[cut:])):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part))


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:4]))
