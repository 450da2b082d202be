"""What docker-compose.yml adds by profiles: an object store, and Prometheus and Grafana with their files. Where Debian's `prometheus` is
installed, its own tools read them and it scrapes a real service; the images themselves are not tried."""

import json
import re
import secrets
import shutil
import subprocess
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_files import ROOT, compose
from servers import Process, free_port, until

KEY = "psk_" + secrets.token_hex(24)
DOCUMENT = compose({"POSTGRES_PASSWORD": "p" * 48, "POTSTILL_KEY": KEY, "AWS_ACCESS_KEY_ID": "GK0", "AWS_SECRET_ACCESS_KEY": "5" * 64})
SERVICES: dict[str, Any] = DOCUMENT["services"]


def put(service: str) -> dict[str, Path]:
    """Where each file lies in the container, and what it is here."""
    return {one["target"]: ROOT / DOCUMENT["configs"][one["source"]]["file"] for one in SERVICES[service]["configs"]}


def test_deploy_every_file_is_there_and_put_somewhere() -> None:
    used = {one["source"] for service in SERVICES.values() for one in service.get("configs", ())}
    assert used == DOCUMENT["configs"].keys()
    assert all(path.is_file() for name in SERVICES if "configs" in SERVICES[name] for path in put(name).values())
    folder = ROOT / "deploy/compose"
    named = [ROOT / one["file"] for one in DOCUMENT["configs"].values()]
    assert set(folder.iterdir()) == {path for path in named if path.parent == folder}


def test_deploy_the_store_has_the_bucket_and_the_key_that_the_example_names() -> None:
    settings = tomllib.loads(put("s3")["/etc/garage.toml"].read_text())
    told = (ROOT / ".env.example").read_text().partition("With `--profile s3`:")[2].partition("\n#POTSTILL")[0]
    url, region, endpoint = re.findall(r"s3://\S+?(?=,)|garage(?=,)|http://\S+", told)
    variables = SERVICES["s3"]["environment"]
    assert url.removeprefix("s3://").split("/")[0] == variables["GARAGE_DEFAULT_BUCKET"]
    assert region == settings["s3_api"]["s3_region"]
    address = urllib.parse.urlsplit(endpoint)
    assert address.hostname == "s3" and settings["s3_api"]["api_bind_addr"].endswith(f":{address.port}")
    assert (variables["GARAGE_DEFAULT_ACCESS_KEY"], variables["GARAGE_DEFAULT_SECRET_KEY"]) == ("GK0", "5" * 64)
    without = compose({"POSTGRES_PASSWORD": "p" * 48, "POTSTILL_KEY": KEY})["services"]["s3"]["environment"]
    assert without["GARAGE_RPC_SECRET"] == "", "without keys in .env it refuses to start"
    (mount,) = SERVICES["s3"]["volumes"]
    assert all(settings[name].startswith(mount.split(":")[1] + "/") for name in ("metadata_dir", "data_dir"))
    assert settings["rpc_bind_addr"].startswith("127.0.0.1:")


def test_deploy_prometheus_asks_every_api_by_its_address_with_the_key() -> None:
    settings = yaml.safe_load(put("prometheus")["/etc/prometheus/prometheus.yml"].read_text())
    (job,) = settings["scrape_configs"]
    alone = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    assert job["job_name"] == alone["scrape_configs"][0]["job_name"], "rules and dashboard go by it"
    (names,) = job["dns_sd_configs"]
    assert names["names"] == ["api"] and str(names["port"]) in SERVICES["api"]["ports"][0].split(":")
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
    assert all(f"/etc/prometheus/{name}" in put("prometheus") for name in settings["rule_files"])


def test_deploy_grafana_finds_the_dashboard_and_its_source_and_has_no_password() -> None:
    files = put("grafana")
    (source,) = yaml.safe_load(files["/etc/grafana/provisioning/datasources/potstill.yml"].read_text())["datasources"]
    (provider,) = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/potstill.yml"].read_text())["providers"]
    variables = SERVICES["grafana"]["environment"]
    home = variables["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in files and home.startswith(provider["options"]["path"] + "/")
    assert urllib.parse.urlsplit(source["url"]).hostname == "prometheus" and source["isDefault"]
    dashboard = json.loads(files[home].read_text())
    (kind,) = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    assert source["type"] == kind
    assert variables["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == variables["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert variables["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer" and not [name for name in variables if "PASSWORD" in name]


@pytest.fixture
def prometheus() -> str:
    found = shutil.which("prometheus")
    if found is None or shutil.which("promtool") is None:
        pytest.skip("no Prometheus here: apt-get install prometheus")
    return found


def test_deploy_a_real_prometheus_scrapes_a_real_service(prometheus: str, tmp_path: Path) -> None:
    """The files as they are, but with an address for the name, and the key elsewhere. Every expression of the dashboard is one."""
    port, own = free_port(), free_port()
    for target, path in put("prometheus").items():
        (tmp_path / Path(target).name).write_text(path.read_text())
    settings = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    job["authorization"]["credentials_file"] = str(tmp_path / "key")
    settings["global"]["scrape_interval"] = "1s"
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)

    environment = {"POTSTILL_HOME": str(tmp_path), "POTSTILL_KEY": KEY, "POTSTILL_ALLOWED_HOSTS": ""}
    assert Process(tmp_path, "migrate", **environment).popen.wait(60) == 0
    api = Process(tmp_path, "api", "--host", "0.0.0.0", "--port", str(port), **environment)
    data, listen = f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{own}"
    with (tmp_path / "prometheus.log").open("wb") as log:
        command = [prometheus, f"--config.file={tmp_path / 'prometheus.yml'}", data, listen]
        server = subprocess.Popen(command, stdout=log, stderr=log)

    def asked(query: str) -> list[Any]:
        address = f"http://127.0.0.1:{own}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            found: list[Any] = json.loads(answer.read())["data"]["result"]
        return found

    def up() -> bool:
        try:
            return [one["value"][1] for one in asked('up{job="potstill"}')][:1] == ["1"]
        except OSError:
            return False

    try:
        until(up, 60, "a scrape")
        assert [one["metric"]["job"] for one in asked("potstill_queue_depth")][:1] == ["potstill"]
        dashboard = json.loads((ROOT / "deploy/grafana/potstill.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
        for expression in expressions:
            asked(expression.replace("$job", "potstill").replace("$__rate_interval", "1m"))
        assert len(expressions) > 5
    finally:
        server.kill()
        server.wait()
        api.kill()
