"""docker-compose.yml and services/Dockerfile hold together, by the rules of the Compose specification and by our own.

No Docker engine is needed. Where `docker-compose` (or `docker compose`) is at hand, it reads the files too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorag.pipeline.config import Settings, parse_settings
from lorag.pipeline.engine.bases import _FORMAT, GGUF_SHA256, SMOLLM2
from tests.test_packaging import pins

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

TOP = {"services", "volumes"}
SERVICE = {
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "deploy",
    "entrypoint",
    "environment",
    "healthcheck",
    "image",
    "init",
    "ports",
    "profiles",
    "read_only",
    "restart",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "tmpfs",
    "user",
    "volumes",
}
"""Keys of the Compose specification that these files use; a misspelt one is none of them."""
DURATION = re.compile(r"(\d+(ms|s|m|h))+")
PORT = re.compile(r"127\.0\.0\.1:(\d+):(\d+)")
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z0-9.-]+)?")
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?:(:?[-?])([^}]*))?\}")


def lasting() -> list[str]:
    """The services that run on, not those that end when their work is done."""
    ending = {name for service in SERVICES.values() for name, on in waits(service).items() if on.endswith("successfully")}
    return [name for name in SERVICES if name not in ending]


def waits(service: dict[str, Any]) -> dict[str, str]:
    return {name: on["condition"] for name, on in service.get("depends_on", {}).items()}


def seconds(duration: str) -> int:
    assert DURATION.fullmatch(duration), duration
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def test_only_keys_of_the_specification_are_used() -> None:
    assert COMPOSE.keys() <= TOP
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        assert service.keys() <= SERVICE, name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_pinned_image_no_root_and_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert PINNED.fullmatch(service["image"]), service["image"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys()
    user = service.get("user") or ("image" if name == "base" or service["image"].endswith("-unprivileged") else "root")
    assert user in ("image", "${LORAG_USER:-10001:10001}")  # the image of `base` is ours, which names its user


@pytest.mark.parametrize("name", lasting())
def test_what_runs_on_is_watched_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert seconds(check["timeout"]) < seconds(check["interval"]) <= 10
    assert check["retries"] >= 3
    assert seconds(check["start_period"]) > 0


def test_ports_answer_this_machine_alone_and_each_once() -> None:
    ports = [match.group(1) for s in SERVICES.values() for port in s.get("ports", ()) if (match := PORT.fullmatch(port))]
    assert len(ports) == sum(len(service.get("ports", ())) for service in SERVICES.values())
    assert len(ports) == len(set(ports))


def test_services_wait_for_services_that_run_with_them_and_tell_when_they_are_ready() -> None:
    for service in SERVICES.values():
        for name, condition in waits(service).items():
            other = SERVICES[name]
            assert set(other.get("profiles", ())) <= set(service.get("profiles", ()))
            assert condition == "service_completed_successfully" or (condition == "service_healthy" and "healthcheck" in other)


def test_named_volumes_are_declared_and_used_and_mounted_files_exist() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    sources = {VARIABLE.sub(lambda m: m[3], mount).split(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith(".")} == set(COMPOSE["volumes"])
    assert all((ROOT / source).exists() for source in sources if source.startswith("./services/"))


def test_by_default_qdrant_and_the_service_run_and_with_the_profile_vllm_too() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {"qdrant", "api"}
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["gpu"]} == {"base", "vllm"}
    (device,) = SERVICES["vllm"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_no_secret_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            assert isinstance(value, str), f"{name}.{key}: quote it"
            if "KEY" in key:
                assert (match := VARIABLE.fullmatch(value)), f"{name}.{key}"
                assert match[1].endswith("API_KEY")
                assert match[2] == ":?" or match[3] == ""
    # An open Qdrant beside the service would hand every tenant's passages to whoever reaches it.
    assert SERVICES["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?")


def test_the_qdrant_server_is_pinned_near_its_client() -> None:
    tag = re.fullmatch(r"qdrant/qdrant:v(\d+)\.(\d+)\.\d+-unprivileged", SERVICES["qdrant"]["image"])
    assert tag is not None
    client = pins()["qdrant-client"]
    assert int(tag[1]) == client.major
    assert abs(int(tag[2]) - client.minor) <= 1
    assert "/readyz" in SERVICES["qdrant"]["healthcheck"]["test"][-1]


def comment_settings(key: str) -> Settings:
    (line,) = re.findall(rf"^#   ({key}: \{{.*\}})$", TEXT, re.MULTILINE)
    return parse_settings(f"documents: d\n{line}\n", Path("p"))


def test_the_settings_that_the_comment_shows_load_and_name_these_services() -> None:
    store, generation = comment_settings("store").store, comment_settings("generation").generation
    assert (store.url, store.api_key_env) == ("http://qdrant:6333", "QDRANT_API_KEY")
    assert (generation.base_url, generation.api_key_env) == ("http://vllm:8000/v1", "VLLM_API_KEY")
    assert {store.api_key_env, generation.api_key_env} <= SERVICES["api"]["environment"].keys()
    command = SERVICES["vllm"]["command"]
    assert command[command.index("--port") + 1] == "8000"


def test_vllm_is_given_the_base_that_the_image_holds() -> None:
    command = SERVICES["vllm"]["command"]
    default = VARIABLE.fullmatch(command[command.index("--base") + 1])
    assert default is not None
    assert default[3] == f"/srv/models/bases/{SMOLLM2}-{GGUF_SHA256[:8]}-{_FORMAT}"
    assert "models:/srv/models:ro" in SERVICES["vllm"]["volumes"]
    assert f"LORAG_CACHE={'/srv/models'}" in DOCKERFILE


def test_vllms_command_starts_vllm_with_what_is_in_production(tmp_path: Path) -> None:
    """The service's own words, run with a program that shows them in place of vLLM."""
    for role, rank, modules in (("rewriter", 12, ["q_proj"]), ("judge", 8, ["v_proj", "q_proj"])):
        version = tmp_path / role / "versions" / "0001-0123abcd"
        version.mkdir(parents=True)
        (version / "adapter_config.json").write_text(json.dumps({"r": rank, "target_modules": modules}))
        (tmp_path / role / "aliases.json").write_text(json.dumps({"production": "0001-0123abcd", "previous": None}))
    show = tmp_path / "vllm"
    show.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    show.chmod(0o755)
    vllm = SERVICES["vllm"]
    script = next(mount for mount in vllm["volumes"] if mount.endswith("/srv/vllm_serve.py:ro")).split(":")[0]
    assert vllm["entrypoint"][1] == "/srv/vllm_serve.py"
    words = [
        VARIABLE.sub(lambda m: m[3], word).replace("/srv/project/.lorag/adapters", str(tmp_path)) for word in vllm["command"]
    ]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *words], capture_output=True, text=True, check=True, env={"PATH": path}
    )
    said = done.stdout.split("\n")[:-1]
    assert said[:2] == ["serve", f"/srv/models/bases/{SMOLLM2}-{GGUF_SHA256[:8]}-{_FORMAT}"]
    told = shlex.join(said)
    assert "--served-model-name base --enable-lora --max-loras 3 --max-lora-rank 16 --lora-target-modules q_proj v_proj" in told
    assert f"rewriter={tmp_path}/rewriter/versions/0001-0123abcd judge={tmp_path}/judge/versions/0001-0123abcd" in told
    assert said[-4:] == ["--host", "0.0.0.0", "--port", "8000"]


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def test_the_image_is_built_in_two_pinned_stages_and_runs_as_a_user() -> None:
    steps = instructions()
    froms = [value for word, value in steps if word == "FROM"]
    assert len(froms) == 2
    assert all(PINNED.fullmatch(value.split(" ")[0]) for value in froms)
    last = steps[max(n for n, (word, _) in enumerate(steps) if word == "FROM") :]
    assert [value for word, value in last if word == "USER"] == ["lorag"]
    assert not any("pip install" in value for _, value in last)
    assert all(value.startswith("--from=build") for word, value in last if word == "COPY")
    installs = [command for word, value in steps if word == "RUN" for command in value.split("&&") if "pip install" in command]
    assert installs
    assert all("--constraint constraints.txt" in command for command in installs)


def test_the_image_fetches_nothing_when_it_runs_and_tells_when_it_is_ready() -> None:
    steps = dict(instructions())
    assert re.search(r"\bHF_HUB_OFFLINE=1\b", DOCKERFILE)
    assert json.loads(steps["ENTRYPOINT"]) == ["lorag"]
    assert json.loads(steps["CMD"]) == ["serve", "--host", "0.0.0.0"]
    check = json.loads(steps["HEALTHCHECK"].split("CMD ", 1)[1])
    assert ["CMD", *check] == SERVICES["api"]["healthcheck"]["test"]
    assert f":{steps['EXPOSE']}/readyz" in check[-1]


def test_all_that_the_image_copies_is_there_and_reaches_the_builder() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for word, value in instructions()
        if word == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    build = SERVICES["api"]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()


COMPOSES = [shlex.split(words) for words in ("docker-compose", "docker compose")]


def compose_program() -> list[str] | None:
    for words in COMPOSES:
        if shutil.which(words[0]) and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0:
            return words
    return None


@pytest.mark.parametrize("profile", [[], ["--profile", "gpu"]], ids=["default", "gpu"])
def test_docker_compose_takes_the_file(profile: list[str], tmp_path: Path) -> None:
    program = compose_program()
    if program is None:
        pytest.skip("neither docker-compose nor docker compose is installed")
    environment = {"PATH": os.environ["PATH"], "QDRANT_API_KEY": "q-1", "VLLM_API_KEY": "v-1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [*program, *profile, "--file", str(ROOT / "docker-compose.yml"), "config"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert {"qdrant", "api"} <= shown["services"].keys()
    assert shown["services"]["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"] == "q-1"
    del environment["QDRANT_API_KEY"]
    refused = subprocess.run(
        [*program, "--file", str(ROOT / "docker-compose.yml"), "config"], capture_output=True, text=True, env=environment
    )
    assert refused.returncode != 0
    assert "set it to a secret that you make up" in refused.stderr
