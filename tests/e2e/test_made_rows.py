"""Rows made by a masked language model that is a job of the same batch: waited for, fetched by the worker, and asked once for all runs."""

import json
from pathlib import Path
from typing import Any

from servers import Service

BERT: dict[str, Any] = {"arch": "bert", "layers": 1, "hidden": 16, "heads": 2, "positions": 32}


def test_a_batch_trains_the_model_that_makes_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"the {'apple' if i % 2 else 'hammer'} is {i % 7} days old", "label": "fruit" if i % 2 else "tool"} for i in range(80)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    service = Service(tmp_path / "home", slots=2)
    with service.client() as client:
        dataset = client.datasets.upload(path).id
        common: dict[str, Any] = {"data": {"train": dataset, "validation": 0.25}, "training": {"epochs": 2, "batch_size": 20}}
        classify = {**common, "task": "text-classification", "student": {"arch": "bilstm", "embedding": 8, "hidden": 8}}
        words = {"copies": 3, "candidates": 4, "model": {"job": "@reads"}}
        batch = [
            {**common, "kind": "train", "name": "reads", "task": "masked-lm", "student": BERT, "tokenizer": {"vocabulary": 400}},
            {**classify, "kind": "train", "name": "teaches", "student": BERT},
            {**classify, "kind": "distill", "name": "learns", "teacher": {"job": "@teaches"},
             "recipe": {"name": "tang_bilstm"}, "evaluation": {"control": True, "seeds": 2}},
        ]  # fmt: skip
        batch[2]["data"] = {**common["data"], "augment": {"words": {"rules": "tinybert", **words}}}
        *_, job = client.jobs.submit_batch(batch)
        report = job.wait(timeout=300).report
        assert report is not None
        outputs = report["teacher_outputs"]
        assert (outputs["rows"], outputs["passes"]) == (240, 1)
        assert job.progress.total_steps == 4 * 2 * 12
        said = [event.message for run in client.jobs.list(parent=job.id) for event in client.jobs.events(run.id)]
        assert sum("180 rows made of 60" in message for message in said) == 4
    assert service.stop() == 0
