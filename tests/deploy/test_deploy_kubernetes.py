"""deploy/kubernetes: valid by the schemas of Kubernetes, and of one piece with the settings, the image and the metrics of the code."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_files import ROOT, command, dockerfile

from api.settings import Settings as ApiSettings
from worker.settings import Settings as WorkerSettings

FILE = ROOT / "deploy/kubernetes/potstill.yaml"
HOW_TO = (ROOT / "docs/how-to/deploy-on-kubernetes.md").read_text()
DOCUMENTS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["items"]
READ = {f"POTSTILL_{name.upper()}" for settings in (ApiSettings, WorkerSettings) for name in settings.model_fields}


def pods() -> dict[str, dict[str, Any]]:
    """Each template's pod by its part."""
    found = {}
    for document in DOCUMENTS:
        if template := document["spec"].get("template"):
            found[template["metadata"]["labels"]["part"]] = template["spec"]
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: f"{document['kind']} {document['metadata']['name']}")
def test_deploy_each_manifest_is_one_of_kubernetes_own(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.37", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "specs": {}}, "1.37", strict=True)


def test_deploy_pods_run_what_the_images_do_as_the_images_do() -> None:
    _, stages = dockerfile()
    found = pods()
    assert found.keys() == {"migrate", "api", "worker"}
    (user,) = re.findall(r"useradd --uid (\d+)", " ".join(stages["runtime"].all("RUN")))
    for part, pod in found.items():
        (container,) = pod["containers"]
        assert container["image"] == f"potstill-{'worker' if part == 'worker' else 'api'}:0.1.0"
        assert container["command"] == (command(stages, part) if part != "migrate" else ["potstill", "migrate"])
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == int(user)
        locked = container["securityContext"]
        assert locked["readOnlyRootFilesystem"] and locked["capabilities"] == {"drop": ["ALL"]} and not locked["allowPrivilegeEscalation"]
        assert not pod["automountServiceAccountToken"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["limits"]["memory"]


def test_deploy_pods_are_told_what_is_read_and_hold_no_secret() -> None:
    for pod in pods().values():
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "potstill"}}]
        assert {one["name"] for one in container.get("env", ())} <= READ
    named = set(re.findall(r"--from-literal=(\w+)=", HOW_TO))
    assert {name for name in named if name.startswith("POTSTILL_")} <= READ | {"POTSTILL_KEY"}
    assert {"POTSTILL_DATABASE_URL", "POTSTILL_BROKER_URL", "POTSTILL_ARTIFACTS_URL", "POTSTILL_KEY"} <= named
    assert not re.search(r"psk_\w|AWS_SECRET|password", FILE.read_text())


def test_deploy_services_find_their_pods_and_probes_their_routes() -> None:
    labels = {part: {"app": "potstill", "part": part} for part in pods()}
    by_kind = {document["kind"]: document for document in DOCUMENTS if document["kind"] != "Deployment"}
    assert by_kind["Service"]["spec"]["selector"] == labels["api"]
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels["api"]
    (container,) = pods()["api"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": ApiSettings.model_fields["port"].default}]
    hosts = next(one["value"] for one in container["env"] if one["name"] == "POTSTILL_ALLOWED_HOSTS")
    for probe, route in (("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (route, "http")
        assert {"name": "Host", "value": hosts} in asked["httpHeaders"], "an address of a pod is no name that the service answers to"


def test_deploy_workers_grow_by_a_metric_that_there_is_and_have_time_to_leave() -> None:
    (scaler,) = [document for document in DOCUMENTS if document["kind"] == "HorizontalPodAutoscaler"]
    name = scaler["spec"]["metrics"][0]["external"]["metric"]["name"]
    assert f"as: {name}" in HOW_TO
    exposed = set(re.findall(r'Gauge\(\s*"(\w+)"', (ROOT / "api/census.py").read_text()))
    assert set(re.findall(r"\b(potstill_(?!wanted)\w+)", HOW_TO)) <= exposed
    assert scaler["spec"]["scaleTargetRef"]["name"] in {document["metadata"]["name"] for document in DOCUMENTS}
    leave = WorkerSettings.model_fields["stop_seconds"].default
    assert pods()["worker"]["terminationGracePeriodSeconds"] >= leave + 20
    deployment = next(document for document in DOCUMENTS if document["metadata"]["name"] == "potstill-worker")
    assert "replicas" not in deployment["spec"], "each apply would undo what the scaler did"
