"""Rows whose words have tags, and questions with the texts that answer them."""

import json
import random

NAMES, PLACES, VERBS = ["anna", "bert-jan", "Çarl", "d'ora"], ["paris", "rome,", "oslo"], ["visits", "likes", "leaves"]
THINGS, SPOTS = ["hammer", "old saw", "pear-tree", "Çup"], ["the table", "a house", "Rome", "my garden"]


def write_tags(path, rows=130, seed=0):
    """Sentences of four to seven words, names of persons and of places among them."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(rows):
            words = ["well"] * draw.randrange(4) + [draw.choice(NAMES), draw.choice(VERBS), "new", draw.choice(PLACES)]
            tags = ["O"] * (len(words) - 4) + ["B-PER", "O", "B-LOC", "I-LOC"]
            file.write(json.dumps({"tokens": words, "ner_tags": tags}) + "\n")
    return path


def write_questions(path, rows=130, seed=0, **more):
    """Where is it? Two things in two places, one of which is asked for."""
    draw = random.Random(seed)
    with path.open("w") as file:
        for _ in range(rows):
            (one, other), (here, there) = draw.sample(THINGS, 2), draw.sample(SPOTS, 2)
            context = f"well, the {one} is in {here}. the {other} is in {there}."
            asked, answer = draw.choice([(one, here), (other, there)])
            file.write(json.dumps({"question": f"where is the {asked}?", "context": context, "answer": answer, **more}) + "\n")
    return path
