"""Texts and the networks that read them, at the door: columns, model folders of transformers, and who refers to what."""

import json
from typing import Any

import pytest
from real_service import Api
from worker_hand import safetensors

ROWS = "".join(json.dumps({"text": f"row {i}", "label": "good" if i % 2 else "bad"}) + "\n" for i in range(20))
PAIRS = "".join(json.dumps({"premise": f"row {i}", "claim": "so it is", "label": i % 2}) + "\n" for i in range(20))
CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 6,
    "hidden_size": 2,
    "num_hidden_layers": 1,
    "max_position_embeddings": 40,
}
WEIGHTS = {"embeddings.word_embeddings.weight": [6, 2], "pooler.dense.bias": [2]}
TOKENIZER = b'{"model": {"type": "WordPiece"}}'


def add(api: Api, content: str = ROWS, name: str = "rows.jsonl") -> str:
    return str(api.http.post("/v1/datasets", files={"file": (name, content)}).json()["id"])


def push(api: Api, config: Any = None, **files: bytes | None) -> Any:
    parts: dict[str, bytes | None] = {
        "model.safetensors": safetensors(WEIGHTS),
        "config.json": json.dumps(CONFIG if config is None else config).encode(),
        "tokenizer.json": TOKENIZER,
        **files,
    }
    sent = [("file", (name, content)) for name, content in parts.items() if content is not None]
    return api.http.post("/v1/models", files=sent, data={"name": "encoder"})


def spec(dataset: str, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "train",
        "task": "text-classification",
        "data": {"train": dataset, "validation": 0.5},
        "student": {"arch": "bilstm"},
        **changes,
    }


def test_texts_are_read_by_the_columns_there_are(api: Api) -> None:
    assert api.post("/v1/jobs/validate", spec(add(api))).json()["valid"]
    pairs = add(api, PAIRS)
    api.refused(api.post("/v1/jobs", spec(pairs)), 422, "does_not_fit", "data.train.columns.text")
    both = {"dataset": pairs, "columns": {"text": "premise", "text_pair": "claim"}}
    assert api.post("/v1/jobs/validate", spec(pairs, data={"train": both, "validation": 0.5})).json()["valid"]


@pytest.mark.parametrize(
    ("columns", "param", "said"),
    [
        ({"text": "txet"}, "data.train.columns.text", "the columns are premise, claim, label"),
        ({"text": "label"}, "data.train.columns.text", "is the label"),
        ({"text": "premise", "text_pair": "x"}, "data.train.columns.text_pair", "there is no column 'x'"),
        ({"text": "premise", "label": "stars"}, "data.train.columns.label", "there is no column 'stars'"),
        ({"features": ["premise"]}, "data.train.columns.features", "text-classification reads text"),
    ],
)
def test_a_wrong_column_is_named_with_those_there_are(api: Api, columns: dict[str, Any], param: str, said: str) -> None:
    data = {"train": {"dataset": add(api, PAIRS), "columns": columns}, "validation": 0.5}
    answer = api.post("/v1/jobs", spec("", data=data))
    assert said in answer.json()["detail"]
    assert answer.status_code == 422 and answer.json()["param"] == param


def test_a_language_model_needs_no_labels_and_reads_plain_lines(api: Api) -> None:
    lines = add(api, "to be or not to be\n\nthat is the question\n", "play.txt")
    found = api.post("/v1/jobs/validate", spec(lines, task="causal-lm", student={"arch": "gpt2"})).json()
    assert found["valid"], found
    assert found["estimate"]["steps"] is None and found["estimate"]["train_rows"] == 1
    api.refused(api.post("/v1/jobs", spec(lines)), 422, "does_not_fit", "data.train.columns.label")
    api.refused(api.post("/v1/jobs", spec(lines, task="causal-lm", student={"arch": "bert"})), 422, "invalid_spec", "student.arch")


def test_a_folder_of_transformers_is_a_model(api: Api) -> None:
    answer = push(api)
    assert answer.status_code == 201, answer.text
    model = answer.json()
    assert (model["task"], model["parameters"]) == ("", 14)
    assert model["config"]["arch"] == "bert" and model["config"]["text"] == {"texts": 1, "vocabulary": 6, "max_length": 40}
    dataset = add(api)
    goes_on = spec(dataset, student={"model": model["id"]})
    job = api.submit(goes_on)
    api.refused(api.http.delete(f"/v1/models/{model['id']}"), 409, "in_use")
    api.post(f"/v1/jobs/{job['id']}/cancel")
    teaches = spec(dataset, kind="distill", teacher={"model": model["id"]})
    assert "was taught no classes" in api.refused(api.post("/v1/jobs", teaches), 422, "does_not_fit", "teacher")["detail"]


def test_a_classifier_of_transformers_is_held_to_its_classes(api: Api) -> None:
    named = {**CONFIG, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}}
    model = push(api, named).json()
    assert (model["task"], model["config"]["classes"]) == ("text-classification", ["bad", "good"])
    fits = spec(add(api), kind="distill", teacher={"model": model["id"]}, student={"init": "teacher", "layers": [0]})
    assert api.post("/v1/jobs/validate", fits).json()["valid"]
    other = spec(add(api, ROWS.replace("good", "fine")), kind="distill", teacher={"model": model["id"]})
    assert "it knows 2 classes (bad, good)" in api.refused(api.post("/v1/jobs", other), 422, "does_not_fit", "teacher")["detail"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"tokenizer.json": None}, "needs its tokenizer"),
        ({"model.safetensors": None}, "model.safetensors is missing"),
        ({"pytorch_model.bin": b"PK\x03\x04"}, "is no file of a model here"),
        ({"model.safetensors": b"PK\x03\x04" + b"x" * 60}, "looks like a pickle"),
        ({"model-00001-of-00002.safetensors": safetensors({"a": [1]}), "model.safetensors": None}, "model.safetensors.index.json"),
        ({"config.json": b'{"model_type": "vit"}'}, "vocab_size: it is missing"),
        ({"config.json": b'{"model_type": "bert", "vocab_size": 0}'}, "vocabulary"),
        ({"tokenizer.json": b"\xff\xfe"}, "not UTF-8"),
    ],
)
def test_what_is_no_model_is_refused(api: Api, files: dict[str, bytes | None], said: str) -> None:
    answer = push(api, **files)
    problem = api.refused(answer, 422, "invalid_model", "file")
    assert said in problem["detail"]
    assert api.running.files() == set()


def test_weights_in_several_files_come_with_their_index(api: Api) -> None:
    shards = {"model-00001-of-00002.safetensors": safetensors({"a": [3]}), "model-00002-of-00002.safetensors": safetensors({"b": [4]})}
    index = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).encode()
    answer = push(api, **{"model.safetensors": None, "model.safetensors.index.json": index, **shards})
    assert answer.status_code == 201, answer.text
    assert answer.json()["parameters"] == 7
    del shards["model-00002-of-00002.safetensors"]
    refused = push(api, **{"model.safetensors": None, "model.safetensors.index.json": index, **shards})
    assert "names model-00001-of-00002.safetensors, model-00002-of-00002.safetensors" in refused.json()["detail"]


def test_every_reference_of_a_text_job_counts(api: Api) -> None:
    """The tokenizer's network and the one whose layers are taken: kept from deletion, waited for, and named in batches."""
    model, dataset = push(api).json()["id"], add(api)
    for uses in ({"tokenizer": {"model": model}}, {"student": {"init": {"model": model}, "layers": [0]}}):
        job = api.submit(spec(dataset, **uses))["id"]
        api.refused(api.http.delete(f"/v1/models/{model}"), 409, "in_use")
        api.post(f"/v1/jobs/{job}/cancel")
    batch = [
        {**spec(dataset), "name": "first"},
        {**spec(dataset), "name": "reads-alike", "tokenizer": {"job": "@first"}},
        {**spec(dataset), "name": "half", "student": {"init": {"job": "@first"}, "layers": [0]}},
    ]
    answer = api.post("/v1/jobs/batch", {"jobs": batch})
    assert answer.status_code == 202, answer.text
    first, *others = answer.json()["data"]
    for job in others:
        assert (job["status"], job["depends_on"]) == ("waiting", [first["id"]])


def test_rows_made_by_a_language_model_need_it_and_are_counted(api: Api) -> None:
    """Looked up, waited for, kept from deletion, named in batches; of 20 rows 10 are held out, and four of each are trained on."""
    dataset = add(api)
    speaks = push(api, {**CONFIG, "architectures": ["BertForMaskedLM"]}).json()["id"]

    def made(recipe: bool = False, **model: str) -> dict[str, Any]:
        words = {"copies": 3, "model": model}
        if recipe:
            distilled = {"kind": "distill", "teacher": {"job": taught}, "recipe": {"name": "tinybert", "words": words}}
            return spec(dataset, student=looks, evaluation={"control": True, "seeds": 2, "compare": ["hinton"]}, **distilled)
        return spec(dataset, data={"train": dataset, "validation": 0.5, "augment": {"words": {"rules": "tinybert", **words}}})

    looks = {"arch": "bert", "layers": 1, "hidden": 16, "heads": 2}
    taught = api.submit(spec(dataset, student=looks))["id"]
    found = api.post("/v1/jobs/validate", made(model=speaks)).json()
    assert (found["estimate"]["train_rows"], found["estimate"]["validation_rows"], found["estimate"]["steps"]) == (40, 10, 10)
    for recipe in (False, True):
        job = api.submit(made(recipe, model=speaks))
        field = api.get(f"/v1/jobs/{job['id']}").json()["resolved_spec"]["data"]["augment"]["words"]
        assert field["model"]["model"] == speaks
        api.refused(api.http.delete(f"/v1/models/{speaks}"), 409, "in_use")
        runs = [run["resolved_spec"]["data"]["augment"]["words"] for run in api.get(f"/v1/jobs?parent={job['id']}").json()["data"]]
        assert runs == [field] * (6 if recipe else 0)
        api.post(f"/v1/jobs/{job['id']}/cancel")
    api.refused(api.post("/v1/jobs", made(job=taught)), 422, "does_not_fit", "data.augment.words.model")
    api.refused(api.post("/v1/jobs", made(True, job=taught)), 422, "does_not_fit", "recipe.words.model")
    api.refused(api.post("/v1/jobs", made(model="mdl_" + "0" * 32)), 422, "model_not_found", "data.augment.words.model.model")
    reads = {**spec(dataset, task="masked-lm", student={"arch": "bert"}), "name": "reads"}
    first, second = api.post("/v1/jobs/batch", {"jobs": [{**made(job="@reads"), "name": "made"}, reads]}).json()["data"]
    assert (first["status"], first["depends_on"]) == ("waiting", [second["id"]])


def test_more_made_rows_than_fit_are_refused_with_their_number(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contract.fit.MOST_ROWS", 1000)
    many = spec(dataset := add(api), data={"train": dataset, "augment": {"words": {"rules": "tang", "copies": 100}}, "validation": 0.5})
    said = api.refused(api.post("/v1/jobs", many), 422, "does_not_fit", "data.augment.words.copies")["detail"]
    assert "100 copies of each of 10 rows make 1,010 rows to train on; at most 1,000" in said


def test_a_control_arm_has_the_teachers_tokenizer_and_layers(api: Api) -> None:
    dataset = add(api)
    teacher = api.submit(spec(dataset))["id"]
    distilled = {"kind": "distill", "teacher": {"job": teacher}, "evaluation": {"control": True}}
    job = api.submit(spec(dataset, **distilled))["id"]
    runs = {run["kind"]: run["resolved_spec"] for run in api.get(f"/v1/jobs?parent={job}").json()["data"]}
    assert runs["train"]["tokenizer"]["job"] == teacher and runs["train"]["teacher"] is None


TAGGED = "".join(json.dumps({"tokens": ["row", str(i)], "tags": ["O", "B-N" if i % 2 else "O"]}) + "\n" for i in range(20))
SEVERAL = "".join(json.dumps({"text": f"row {i}", "labels": ["a", "b"][: i % 3]}) + "\n" for i in range(20))


def test_lists_make_tags_and_several_classes(api: Api) -> None:
    tagged, several = add(api, TAGGED), add(api, SEVERAL)
    columns = api.http.get(f"/v1/datasets/{tagged}").json()["columns"]
    assert [column["type"] for column in columns] == ["strings", "strings"]
    assert api.http.get(f"/v1/datasets/{tagged}/preview").json()["rows"][1] == [["row", "1"], ["O", "B-N"]]
    assert api.post("/v1/jobs/validate", spec(several)).json()["valid"]
    assert api.post("/v1/jobs/validate", spec(tagged, task="token-classification")).json()["valid"]
    lstm = spec(tagged, task="token-classification", student={"arch": "lstm"})
    api.refused(api.post("/v1/jobs", lstm), 422, "invalid_spec", "student.arch")
    api.refused(api.post("/v1/jobs", spec(several, task="token-classification")), 422, "does_not_fit", "data.train.columns.text")
    api.refused(api.post("/v1/jobs", spec(add(api), task="token-classification")), 422, "does_not_fit", "data.train.columns.label")
    both = {"train": several, "test": add(api, ROWS)}
    api.refused(api.post("/v1/jobs", spec(several, data=both)), 422, "does_not_fit", "data.test")


def test_a_test_set_of_one_split_needs_no_word_about_it(api: Api) -> None:
    train, test = add(api), add(api, ROWS.replace("row", "line"))
    found = api.post("/v1/jobs/validate", spec(train, data={"train": train, "test": test})).json()
    assert found["valid"] and not [warning for warning in found["warnings"] if "data.test" in warning]
    api.refused(api.post("/v1/jobs", spec(train, data={"train": train, "test": train})), 422, "does_not_fit", "data.test")


MANY = 2_000  # more different answers than there may be classes
ASKED = "".join(json.dumps({"question": "who?", "context": f"it was {i}", "answer": str(i)}) + "\n" for i in range(MANY))
TURNED = "".join(json.dumps({"source": f"row {i}", "target": f"Zeile {i}"}) + "\n" for i in range(MANY))


def test_questions_and_translations_are_read_by_the_columns_there_are(api: Api) -> None:
    asked, turned = add(api, ASKED), add(api, TURNED)
    bert, t5 = {"arch": "bert"}, {"arch": "t5"}
    found = api.post("/v1/jobs/validate", spec(asked, task="question-answering", student=bert)).json()
    assert found["valid"] and found["estimate"]["steps"] == 10 * -(-MANY // 2 // 64), found
    assert api.post("/v1/jobs/validate", spec(turned, task="seq2seq", student=t5)).json()["valid"]
    api.refused(api.post("/v1/jobs", spec(turned, task="question-answering", student=bert)), 422, "does_not_fit", "data.train.columns.text")
    api.refused(api.post("/v1/jobs", spec(asked, task="seq2seq", student=t5)), 422, "does_not_fit", "data.train.columns.label")
    api.refused(api.post("/v1/jobs", spec(turned, task="seq2seq", student=bert)), 422, "invalid_spec", "student.arch")


def test_built_in_sentences_need_no_upload(api: Api) -> None:
    assert api.post("/v1/jobs/validate", spec("docstrings", data={"train": "docstrings"})).json()["valid"]
    masked = spec("docstrings", task="masked-lm", data={"train": "docstrings"}, student={"arch": "bert"})
    assert api.post("/v1/jobs/validate", masked).json()["valid"]
    tagged = spec("docstrings", task="token-classification", data={"train": "docstrings"})
    api.refused(api.post("/v1/jobs", tagged), 422, "does_not_fit", "data.train")


def test_data_of_the_hub_are_looked_at_when_a_worker_has_fetched_them(api: Api) -> None:
    hub = {"hub": "org/rows", "split": "train"}
    found = api.post("/v1/jobs/validate", spec("", data={"train": hub, "test": {"hub": "org/rows", "split": "dev"}})).json()
    assert found["valid"] and found["warnings"] == []
    assert found["estimate"]["train_rows"] is None and found["estimate"]["steps"] is None
    assert api.post("/v1/jobs/validate", spec("", data={"train": hub, "test": add(api)})).json()["valid"]
    teacher = api.post("/v1/jobs", spec("", data={"train": hub})).json()["id"]
    student = spec("", kind="distill", teacher={"job": teacher}, data={"train": add(api), "validation": 0.5})
    assert api.post("/v1/jobs/validate", student).json()["valid"]
    api.refused(api.post("/v1/jobs", spec("", data={"train": {"hub": "a b"}})), 422, "invalid_spec", "data.train.hub")


@pytest.mark.parametrize(
    ("teacher", "student", "objective", "param", "said"),
    [
        ({"arch": "bilstm"}, {"arch": "bert"}, {"loss": "attention_mse"}, "objective.0", "the teacher has no attention to look at"),
        ({"arch": "bert"}, {"arch": "textcnn"}, {"loss": "value_relation"}, "objective.0", "the student has no attention to look at"),
        (
            {"arch": "bert"},
            {"arch": "bert"},
            {"loss": "hidden_mse", "layers": [[1, 9]]},
            "objective.0.layers",
            "the teacher has no layer 9",
        ),
        ({"arch": "bert"}, {"arch": "bert"}, {"loss": "cosine", "layers": [[3, 1]]}, "objective.0.layers", "the student has no layer 3"),
    ],
    ids=str,
)
def test_what_a_term_looks_for_must_be_there(
    api: Api, teacher: dict[str, Any], student: dict[str, Any], objective: dict[str, Any], param: str, said: str
) -> None:
    """While the teacher is still to be trained, too: a job need not wait for that to be told."""
    rows = add(api)
    made = api.post("/v1/jobs", spec(rows, student=teacher)).json()["id"]
    asked = spec(rows, kind="distill", teacher={"job": made}, student=student, objective=[objective])
    answer = api.post("/v1/jobs", asked)
    assert said in answer.json()["detail"], answer.text
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, "does_not_fit", param)
    asked["objective"] = [{"loss": "hidden_mse", "layers": [[1, 1]]}, {"loss": "cross_entropy"}]
    assert api.post("/v1/jobs", asked).status_code == 202
    asked |= {"recipe": "tinybert"}
    del asked["objective"]
    found = api.post("/v1/jobs", asked)
    attends = {"bert"} == {teacher["arch"], student["arch"]}
    assert (found.status_code, found.json().get("param")) == ((202, None) if attends else (422, "recipe")), found.text
