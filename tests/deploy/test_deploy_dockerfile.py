"""The Dockerfile: it copies what is there, starts what is installed, and the API's image has no torch in it."""

import contextlib
import importlib.metadata
import re
import tomllib
from typing import Any

import pytest
from deploy_files import ROOT, chain, command, compose, dockerfile, environment

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OUTSIDE, STAGES = dockerfile()


def allowed() -> list[str]:
    """What .dockerignore lets through."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    return [line[1:] for line in lines if line.startswith("!")]


def test_deploy_build_context_is_what_is_installed() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name for name in allowed() if (ROOT / name).is_dir()} == {package.removesuffix("*") for package in packages}
    assert {name for name in allowed() if (ROOT / name).is_file()} == {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    assert len(allowed()) == sum((ROOT / name).exists() for name in allowed())


def test_deploy_copies_are_of_what_is_there() -> None:
    for name, stage in STAGES.items():
        for rest in stage.all("COPY"):
            source = re.match(r"--from=(\S+) ", rest)
            if source:
                assert source[1] in STAGES, (name, rest)
                continue
            *sources, _ = rest.split()
            assert all(path == "." or (path in allowed() and (ROOT / path).exists()) for path in sources), (name, rest)


def test_deploy_dependencies_are_layers_below_the_source() -> None:
    """A change of the source must not install everything again."""
    for name in ("build-api", "build-worker"):
        steps = [step for stage in chain(STAGES, name) for step in stage.steps]
        places = [i for i, (_, rest) in enumerate(steps) if re.search(r'install "\.\[(server,s3|\$\{EXTRAS\})\]"', rest)]
        assert len(places) == 1
        assert places[0] < steps.index(("COPY", ". ."))
        assert "--no-deps" in steps[-1][1]


def test_deploy_arguments_have_defaults_and_are_those_that_compose_gives() -> None:
    assert all(OUTSIDE.values()) and all(default for stage in STAGES.values() for default in stage.arguments.values())
    assert STAGES["build-worker"].arguments["TORCH"] in EXTRAS["worker"]
    assert set(STAGES["build-worker"].arguments["EXTRAS"].split(",")) <= EXTRAS.keys()
    for name, service in compose()["services"].items():
        if build := service.get("build"):
            assert build["target"] in STAGES, name
            declared = {**OUTSIDE} | {key: value for stage in STAGES.values() for key, value in stage.arguments.items()}
            assert build.get("args", {}).keys() <= declared.keys(), name


@pytest.mark.parametrize("image", ["api", "worker"])
def test_deploy_images_run_our_command_as_nobody_special(image: str) -> None:
    assert command(STAGES, image) == compose()["services"][image]["command"]
    assert command(STAGES, image)[0] in PROJECT["scripts"]
    last = chain(STAGES, image)
    users = [user for stage in last for user in stage.all("USER")]
    assert users and users[-1].split(":")[0] not in ("root", "0")
    assert environment(STAGES, image)["PYTHONSAFEPATH"] == "1"
    assert environment(STAGES, image)["PATH"].startswith("/opt/venv/bin:")
    assert not any(re.search("apt-get|pip|gcc", rest) for stage in last for rest in stage.all("RUN"))
    folders = " ".join(rest for stage in last for rest in stage.all("RUN"))
    for mount in compose()["services"][image]["volumes"]:
        assert mount.split(":")[1] in folders, "a new volume takes over the owner of the folder below it"


def test_deploy_commands_of_compose_are_installed() -> None:
    for name, service in compose()["services"].items():
        if "build" in service:
            assert service["command"][0] in PROJECT["scripts"], name


def closure(requirements: list[str], seen: set[str]) -> set[str]:
    """The names of all distributions that these bring in, as far as they are installed here."""
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[([^]]*)\])?", requirement).groups()  # type: ignore[union-attr]
        name = re.sub(r"[-_.]+", "-", name).lower()
        for extra in (extras or "").split(","):
            key = f"{name}[{extra.strip()}]"
            if key in seen or name == "potstill":
                continue
            seen |= {key, name}
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # for another system, say
                closure([line for line in importlib.metadata.requires(name) or [] if _wanted(line, extra.strip())], seen)
    return seen


def _wanted(line: str, extra: str) -> bool:
    return "extra ==" not in line or re.search(rf"extra == ['\"]{extra}['\"]", line) is not None


def test_deploy_api_image_has_no_torch() -> None:
    (installed,) = re.findall(r'install "\.\[([\w,]+)\]"', " ".join(STAGES["build-api"].all("RUN")))
    assert installed == "server,s3"
    brought = closure(PROJECT["dependencies"] + EXTRAS["server"] + EXTRAS["s3"], set())
    assert {"fastapi", "starlette", "redis", "psycopg-binary", "s3fs"} <= brought
    assert not brought & {"torch", "scikit-learn", "scipy", "transformers"}
    assert "torch" in closure(EXTRAS["worker"], set())
