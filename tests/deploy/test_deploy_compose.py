"""docker-compose.yml: valid, without secrets, and of one piece with the settings it sets and the image it runs."""

import json
import re
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import pytest
from deploy_files import COMPOSE, ROOT, VARIABLE, compose, passed_on, seconds, strings

from api.routes.workers import SILENCE
from api.settings import Settings as ApiSettings
from worker.settings import Settings as WorkerSettings

FILLED_IN = {"POSTGRES_PASSWORD": "p" * 48, "POTSTILL_KEY": "psk_" + "k" * 48}
OURS = ("migrate", "api", "worker", "worker-gpu")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose(FILLED_IN)["services"]
    return found


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """.env.example: each variable and its value, those that are commented out included."""
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(dict(lines)) == len(lines)
    return dict(lines)


def test_deploy_compose_fits_the_official_schema() -> None:
    """compose-spec.json of the Compose specification, which the package check-jsonschema carries."""
    pytest.importorskip("check_jsonschema", reason="check-jsonschema, which carries the schema of the Compose specification, is not here")
    import jsonschema

    schema = json.loads(resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(compose(FILLED_IN))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"services": {"api": {"restarts": "always"}}})


def test_deploy_compose_holds_no_secret(services: dict[str, Any], example: dict[str, str]) -> None:
    for name, service in compose()["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|TOKEN", variable) and value is not None:
                found = VARIABLE.fullmatch(value)
                assert found and (found["how"] == "?" or not found["word"]), f"{name} has {variable} in the file"
    passwords = re.findall(r"://\w+:(.*)@", COMPOSE.read_text())
    assert passwords and all((found := VARIABLE.fullmatch(password)) and found["how"] == "?" for password in passwords)
    assert not re.search(r"psk_\w", COMPOSE.read_text() + (ROOT / ".env.example").read_text())
    assert example["POSTGRES_PASSWORD"] == example["POTSTILL_KEY"] == ""


def test_deploy_env_example_has_every_variable_and_its_default(example: dict[str, str]) -> None:
    variables = {found["name"]: found for text in strings(compose()) for found in VARIABLE.finditer(text) if found["name"]}
    passed = {name for service in compose()["services"].values() for name in passed_on(service)}
    passed |= {secret["environment"] for secret in compose()["secrets"].values()}
    assert variables.keys() | passed == example.keys()
    assert not any(example[name] for name in passed)
    written = (ROOT / ".env.example").read_text()
    for name, found in variables.items():
        if found["how"] == "?":
            assert f"\n{name}=\n" in written
            assert "openssl rand -hex 24" in found["word"], "the message says how to make one"
            with pytest.raises(KeyError, match=name):
                compose({**FILLED_IN, name: ""})
        else:
            assert f"\n#{name}={found['word']}\n" in written


def test_deploy_compose_listens_on_this_machine_alone(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"api": ["127.0.0.1:8400:8400"], "grafana": ["127.0.0.1:3000:3000"]}


def test_deploy_compose_sets_only_what_is_read(services: dict[str, Any]) -> None:
    read = {f"POTSTILL_{name.upper()}" for settings in (ApiSettings, WorkerSettings) for name in settings.model_fields}
    for name in OURS:
        assert services[name]["environment"].keys() <= read | {"POTSTILL_KEY"}
        for shared in ("POTSTILL_DATABASE_URL", "POTSTILL_BROKER_URL", "POTSTILL_ARTIFACTS_URL"):
            assert services[name]["environment"][shared] == services["migrate"]["environment"][shared]
    postgres, url = services["postgres"]["environment"], urlsplit(services["api"]["environment"]["POTSTILL_DATABASE_URL"])
    assert (url.username, url.password, url.path) == (
        postgres["POSTGRES_USER"],
        postgres["POSTGRES_PASSWORD"],
        "/" + postgres["POSTGRES_DB"],
    )


def test_deploy_compose_keeps_what_must_be_kept(services: dict[str, Any]) -> None:
    """Everything written lies on a volume that is declared; blobs on the one that API and workers share."""
    volumes = compose()["volumes"].keys()
    mounts = {name: dict(mount.split(":") for mount in service.get("volumes", [])) for name, service in services.items()}
    assert {volume for mounted in mounts.values() for volume in mounted} == volumes
    assert mounts["postgres"] == {"postgres": "/var/lib/postgresql"}
    for name in ("api", "worker", "worker-gpu"):
        variables = services[name]["environment"]
        paths = [urlsplit(variables["POTSTILL_ARTIFACTS_URL"]).path, variables.get("POTSTILL_HOME"), variables.get("POTSTILL_UPLOADS")]
        for path in filter(None, paths):
            assert any(path == folder or path.startswith(folder + "/") for folder in mounts[name].values()), (name, path)
        assert paths[0].startswith(mounts["api"]["store"] + "/")


def test_deploy_compose_waits_for_what_is_needed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            elsewhere = set(services[other].get("profiles", ())) - set(service.get("profiles", ()))
            assert how.get("required", True) != bool(elsewhere), f"{name} would not start without the profile of {other}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
            if how["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no", (name, other)
    for name in ("api", "worker", "worker-gpu"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_deploy_compose_looks_after_what_runs(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name != "migrate":
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"][0] == "CMD"
            assert seconds(service["healthcheck"]["timeout"]) <= seconds(service["healthcheck"]["interval"])
    assert f"interval '{SILENCE:g} seconds'" in services["worker"]["healthcheck"]["test"][-1]
    for name in ("worker", "worker-gpu"):
        patience = WorkerSettings.model_fields["stop_seconds"].default + 10  # what Supervisor.stop waits for
        assert seconds(services[name]["stop_grace_period"]) > patience
    assert seconds(services["api"]["stop_grace_period"]) > ApiSettings.model_fields["shutdown_seconds"].default


def test_deploy_profiles_are_asked_for(services: dict[str, Any]) -> None:
    found = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert found == {"s3": ["s3"], "prometheus": ["monitoring"], "grafana": ["monitoring"], "worker-gpu": ["gpu"]}
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
