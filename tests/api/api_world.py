"""A project in which everything that the examples of /openapi.json name is there."""

import json
from typing import Any

from real_service import RECEIVER_PORT, Api
from worker_hand import npz

from api import codes, examples


class World:
    """`real` puts the ids of what is there in the place of the examples'."""

    def __init__(self, api: Api) -> None:
        self.api = api
        teacher = api.submit(examples.TRAIN)["id"]
        api.hand.done(teacher)
        self.ids = {codes.TEACHER: teacher}
        done = api.submit(self.real(examples.DISTILL))["id"]
        claim = api.hand.claim(done)
        api.hand.points(claim, "train/loss", [0.412])
        api.hand.checkpoint(claim, 140)
        api.hand.finish(claim)
        rows = api.post("/v1/datasets", files={"file": ("rows.npz", npz(x=[[0.5], [1.5]], y=[0, 1]))}).json()
        artifact = api.get(f"/v1/jobs/{done}/artifacts").json()["data"][0]["id"]
        model = api.get(f"/v1/jobs/{teacher}").json()["model"]
        key = api.post("/v1/keys", {"name": "spare"}).json()["id"]
        self.ids |= {codes.JOB: done, codes.DATASET: rows["id"], codes.ARTIFACT: artifact, codes.MODEL: model, codes.KEY: key}
        self.ids[examples.HOOK] = f"http://127.0.0.1:{RECEIVER_PORT}/potstill"  # nobody listens, and the service may send there
        self.ids[codes.WEBHOOK] = api.post("/v1/webhooks", {"url": self.ids[examples.HOOK]}).json()["id"]
        self.ids[codes.SWEEP] = api.post("/v1/sweeps", self.real(examples.SWEEP_SPEC)).json()["id"]

    def real(self, value: Any) -> Any:
        text = json.dumps(value)
        for example, id_ in self.ids.items():
            text = text.replace(example, id_)
        return json.loads(text)

    def stand(self, operation: str) -> None:
        """The job of the paths in a state that allows the operation."""
        if operation in ("update_job", "cancel_job", "pause_job", "resume_job", "retry_job"):
            self.ids[codes.JOB] = self.api.submit(self.real(examples.DISTILL))["id"]
        if operation == "test_webhook":
            self.api.http.patch(f"/v1/webhooks/{self.ids[codes.WEBHOOK]}", json={"enabled": True})
        if operation == "retry_job":
            self.api.hand.fail(self.ids[codes.JOB])
        if operation.startswith("delete_"):
            for job in self.api.get("/v1/jobs?limit=100").json()["data"]:
                self.api.post(f"/v1/jobs/{job['id']}/cancel")
            self.api.post(f"/v1/sweeps/{self.ids[codes.SWEEP]}/cancel")
