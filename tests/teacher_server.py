"""A server that speaks the OpenAI API, in a process of its own: real networks of transformers, named by their folders below one folder,
and whatever misbehaviour a test asks for. `python teacher_server.py FOLDER PORT`."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from servers import _listens, free_port, until


class TeacherServer:
    """From the side of a test. `url` is what a spec names."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.log = (folder / "teacher-server.log").open("wb")
        self.process = subprocess.Popen([sys.executable, __file__, str(folder), str(self.port)], stdout=self.log, stderr=self.log)
        until(lambda: _listens(self.port), seconds=120, what="the teacher's server")

    def control(self, **wanted: Any) -> None:
        """script: what to do with the next requests, one by one; always: with all others; key: that must come along; styles: ways of
        telling probabilities; seconds: that every answer takes. What is not named is as it was at first; `seen` begins anew."""
        self._ask("/control", wanted)

    def seen(self) -> list[dict[str, Any]]:
        """Every request to the API so far: path, body, headers, and with which status it was answered."""
        found: list[dict[str, Any]] = self._ask("/seen")
        return found

    def answered(self) -> list[str]:
        """The bodies that were answered, as text: what has been paid for."""
        return [json.dumps(one["body"], sort_keys=True) for one in self.seen() if one["status"] == 200]

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return json.load(answer)


@contextlib.contextmanager
def teacher_server(folder: Path) -> Iterator[TeacherServer]:
    server = TeacherServer(folder)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server.log.close()


class Networks:
    """Those below a folder, each loaded when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.loaded = folder, dict[str, Any]()

    def get(self, name: str) -> Any:
        import transformers

        if name not in self.loaded:
            where = self.folder / name
            several = json.loads((where / "config.json").read_text())["model_type"] == "t5"
            kind = transformers.AutoModelForSeq2SeqLM if several else transformers.AutoModelForCausalLM
            self.loaded[name] = (kind.from_pretrained(where).eval(), transformers.AutoTokenizer.from_pretrained(where))
        return self.loaded[name]

    def names(self) -> list[str]:
        return [path.parent.name for path in self.folder.glob("*/config.json")]


def told(network: Any, tokenizer: Any, ids: list[int], body: dict[str, Any]) -> dict[str, Any]:
    """log p of a prompt's tokens, as vLLM tells them and as OpenAI once did; both with one token written."""
    import torch

    with torch.no_grad():
        z = network(torch.tensor([ids])).logits[0, :, : len(tokenizer)].float()
    log_p = z.log_softmax(-1)
    written = int(log_p[-1].argmax())

    def spelled(id_: int) -> str:
        return str(tokenizer.decode([id_]))

    if (k := body.get("prompt_logprobs")) is not None:
        places: list[Any] = [None]
        for row, actual in zip(log_p[:-1], ids[1:], strict=True):
            top = row.topk(k)
            entries = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True)) | {actual: float(row[actual])}
            places.append({str(id_): {"logprob": value, "rank": 1, "decoded_token": spelled(id_)} for id_, value in entries.items()})
        return {"text": spelled(written), "prompt_logprobs": places, "logprobs": None}
    likeliest: list[Any] = [None]
    for row in log_p:
        top = row.topk(body["logprobs"])
        likeliest.append({spelled(id_): value for id_, value in zip(top.indices.tolist(), top.values.tolist(), strict=True)})
    whole = [*ids, written]
    own = [None, *(float(row[id_]) for row, id_ in zip(log_p, whole[1:], strict=True))]
    texts = [spelled(id_) for id_ in whole]
    offsets = [sum(map(len, texts[:place])) for place in range(len(texts))]
    logprobs = {"tokens": texts, "token_logprobs": own, "top_logprobs": likeliest, "text_offset": offsets}
    return {"text": "".join(texts), "logprobs": logprobs}


def wrote(network: Any, tokenizer: Any, text: str, most: int) -> tuple[str, int, int, str]:
    """What it writes: the text, tokens of prompt and answer, and why it ended."""
    import torch

    several = network.config.is_encoder_decoder
    given = tokenizer(text, add_special_tokens=several, return_tensors="pt").input_ids
    end = network.config.eos_token_id if several else tokenizer.eos_token_id or tokenizer.sep_token_id
    with torch.no_grad():
        ids = network.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=most,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=tokenizer.pad_token_id,
        )[0].tolist()
    made = ids[1:] if several else ids[given.shape[1] :]
    reason = "stop" if end in made else "length"
    made = made[: made.index(end)] if end in made else made
    said = tokenizer.decode(made, skip_special_tokens=True)
    return (said.strip() if several else said), given.shape[1], len(made), reason


def main(folder: Path, port: int) -> None:
    import anyio
    import torch
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse, Response

    torch.set_num_threads(1)
    app, networks = FastAPI(), Networks(folder)
    state: dict[str, Any] = {}
    seen: list[dict[str, Any]] = []

    def fresh(**wanted: Any) -> None:
        state.update({"script": [], "always": None, "key": None, "styles": ["prompt_logprobs", "echo"], "seconds": 0.0, **wanted})
        seen.clear()

    fresh()

    @app.post("/control")
    async def control(request: Request) -> dict[str, bool]:
        fresh(**await request.json())
        return {"ok": True}

    @app.get("/seen")
    async def what_was_seen() -> list[dict[str, Any]]:
        return seen

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in networks.names()]}

    def refusal(status: int, message: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status, headers=headers)

    async def misbehaved(how: dict[str, Any]) -> Response | None:
        await anyio.sleep(how.get("hang", 0))
        if "huge" in how:
            return Response(b" " * how["huge"], 200, media_type="application/json")
        if "text" in how:
            return Response(how["text"], how.get("status", 200), media_type="application/json")
        return refusal(how["status"], "as the test wants it", **how.get("headers", {})) if "status" in how else None

    def answer(path: str, body: dict[str, Any]) -> Response:
        if body.get("model") not in networks.names():
            return refusal(404, f"The model `{body.get('model')}` does not exist.")
        network, tokenizer = networks.get(body["model"])
        chat = path.startswith("chat")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        if isinstance(prompt, list):
            asked = "prompt_logprobs" if "prompt_logprobs" in body else "echo" if body.get("echo") else None
            if asked == "echo" and asked not in state["styles"]:
                return refusal(400, "Only no echo is supported")
            if max(prompt) >= len(tokenizer):
                return refusal(400, f"Token id {max(prompt)} is out of vocabulary")
            found = told(network, tokenizer, prompt, body) if asked in state["styles"] else {"text": "", "logprobs": None}
            usage, choice = (len(prompt), 1), {"index": 0, "finish_reason": "length", **found}
        else:
            text, before, after, reason = wrote(network, tokenizer, prompt, body["max_tokens"])
            usage = (before, after)
            choice = {
                "index": 0,
                "finish_reason": reason,
                **({"message": {"role": "assistant", "content": text}} if chat else {"text": text}),
            }
        counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        return JSONResponse({"id": "x", "object": "text_completion", "model": body["model"], "choices": [choice], "usage": counted})

    @app.post("/v1/{path:path}")
    async def asked(path: str, request: Request) -> Response:
        body = await request.json()
        entry: dict[str, Any] = {"path": path, "body": body, "headers": dict(request.headers), "at": time.time(), "status": None}
        seen.append(entry)
        how = state["script"].pop(0) if state["script"] else state["always"]
        found = await misbehaved(how) if how else None
        if found is None and state["key"] is not None and request.headers.get("authorization") != f"Bearer {state['key']}":
            found = refusal(401, f"Incorrect API key provided: {request.headers.get('authorization')}")
        if found is None:
            await anyio.sleep(state["seconds"])
            found = answer(path, body)
        entry["status"] = found.status_code
        return found

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
