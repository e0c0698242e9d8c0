"""`deploy`: what the files for Compose and Kubernetes name exists, and agrees with the code.

`make packages PACKAGES=deploy` checks them against the schemas of Compose and Kubernetes.
"""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

import mcp_server
from mcp_server.cli import main as cli
from mcp_server.http.serve import worker
from mcp_server.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
MANIFESTS: dict[str, dict[str, Any]] = {
    each["kind"]: each
    for file in sorted((DEPLOY / "kubernetes").iterdir())
    for each in yaml.safe_load_all(file.read_text("utf-8"))
}
SERVER, MIGRATE = COMPOSE["services"]["server"], COMPOSE["services"]["migrate"]
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
(INIT_CONTAINER,) = POD["initContainers"]
LONGEST_STOP_S = 5 + 5 + 3 + 10  # the pause, the last answers, open requests, paid requests


def composed(service: dict[str, Any]) -> dict[str, str]:
    """The environment of a service, with what its operator has to set."""
    made = "0123456789abcdef" * 4
    given = service["environment"]
    return {name: re.sub(r"\$\{\w+:\?\}", made, text) for name, text in given.items()}


def in_the_pod(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container, with what the example of the Secret holds."""
    secret = MANIFESTS["Secret"]
    environment = {}
    for entry in container["env"]:
        if "valueFrom" in entry:
            reference = entry["valueFrom"]["secretKeyRef"]
            assert reference["name"] == secret["metadata"]["name"]
            environment[entry["name"]] = secret["stringData"][reference["key"]]
        else:
            environment[entry["name"]] = entry["value"]
    return environment


def test_every_setting_that_is_named_exists_and_takes_its_value() -> None:
    texts = [file.read_text("utf-8") for file in DEPLOY.rglob("*.*")]
    named = set(re.findall(r"USEAPI_[A-Z_]+", "".join(texts)))  # in comments, too
    known = {field.alias for field in Settings.model_fields.values()}

    assert set() == named - known
    for environment in (composed(SERVER), in_the_pod(CONTAINER)):
        Settings.read(environment)


def test_the_tables_are_made_first_and_in_the_database_of_the_servers() -> None:
    for command in (MIGRATE["command"], INIT_CONTAINER["args"]):
        assert "migrate" in command
        cli.build_parser().parse_args(command)
    condition = "service_completed_successfully"
    assert {"migrate": {"condition": condition}} == SERVER["depends_on"]
    for servers, its in (
        (composed(SERVER), composed(MIGRATE)),
        (in_the_pod(CONTAINER), in_the_pod(INIT_CONTAINER)),
    ):
        assert {"USEAPI_DATABASE_URL": servers["USEAPI_DATABASE_URL"]} == its


def test_the_database_is_the_one_that_compose_starts() -> None:
    database = COMPOSE["services"]["postgres"]
    given = composed(database)
    address = conninfo_to_dict(composed(MIGRATE)["USEAPI_DATABASE_URL"])
    probe = database["healthcheck"]["test"]

    assert address["host"] in COMPOSE["services"]
    assert address["user"] == given["POSTGRES_USER"] == probe[probe.index("-U") + 1]
    assert address["password"] == given["POSTGRES_PASSWORD"]
    assert address["dbname"] == given["POSTGRES_DB"] == probe[probe.index("-d") + 1]
    assert {"postgres": {"condition": "service_healthy"}} == MIGRATE["depends_on"]


@pytest.mark.parametrize("given", [SERVER["command"], CONTAINER["args"]])
def test_the_command_line_takes_what_the_server_is_started_with(given: list[str]) -> None:
    parsed = cli.build_parser().parse_args(given)

    assert ("0.0.0.0", 8000) == (parsed.host, parsed.port)
    assert parsed.allowed_host


def test_the_image_is_the_one_of_this_version() -> None:
    (base,) = {each["image"] for each in (SERVER, MIGRATE, CONTAINER, INIT_CONTAINER)}

    assert base.endswith(f":{mcp_server.__version__}")


async def test_the_paths_that_are_probed_need_no_token(tmp_path: Path) -> None:
    probes = [CONTAINER[name]["httpGet"] for name in CONTAINER if name.endswith("Probe")]
    config = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    health = " ".join(SERVER["healthcheck"]["test"])
    found = re.findall(r"uri (/\w+)|127\.0\.0\.1:8000(/\w+)", config + health)
    paths = {probe["path"] for probe in probes} | {one or other for one, other in found}
    settings = Settings(http_token=SecretStr("a-token-of-our-own"), state_dir=tmp_path)
    transport = httpx.ASGITransport(worker(settings))

    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        statuses = {path: (await client.get(path)).status_code for path in paths}

    assert {"/livez": 200, "/readyz": 503} == statuses  # it has not started


def test_a_server_has_the_time_that_a_stop_takes() -> None:
    assert POD["terminationGracePeriodSeconds"] > LONGEST_STOP_S
    assert int(SERVER["stop_grace_period"].removesuffix("s")) > LONGEST_STOP_S


def test_what_is_referred_to_is_there() -> None:
    ports = {each["name"] for each in CONTAINER["ports"]}
    labels = MANIFESTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        MANIFESTS["Service"]["spec"]["selector"],
        MANIFESTS["Deployment"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ]

    assert {port["targetPort"] for port in MANIFESTS["Service"]["spec"]["ports"]} <= ports
    assert [labels] * 3 == selectors
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in POD["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert [MANIFESTS["PersistentVolumeClaim"]["metadata"]["name"]] == claims
    mounted = {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}
    volumes = {
        volume.partition(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
        if not volume.startswith(".")
    }
    assert volumes == COMPOSE["volumes"].keys()


def test_the_proxy_and_the_servers_agree_on_the_name_and_the_ports() -> None:
    config = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    (name,) = re.findall(r"hdr Host (\S+)", config)
    (target,) = re.findall(r"server-template server (\d+ \S+)", config)
    (bound,) = re.findall(r"bind :(\d+)", config)
    (published,) = COMPOSE["services"]["proxy"]["ports"]

    allowed = cli.build_parser().parse_args(SERVER["command"]).allowed_host
    assert [name] == allowed
    assert target == f"{SERVER['deploy']['replicas']} server:8000"
    assert published.split(":")[-2:] == [name.partition(":")[2], bound]
