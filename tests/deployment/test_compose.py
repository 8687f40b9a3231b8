"""What Compose is told. Where Compose is installed, it reads the file as well."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from rbm_service.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OVERLAYS = {name: ROOT / f"docker/{name.replace('_', '-')}.yml" for name in ("api_keys", "admin_key")}
EXAMPLE = (ROOT / ".env.example").read_text()
KNOWN_SETTINGS = {ENV_PREFIX + name.upper() for name in Settings.model_fields}


def compose_command():
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    plugin = ["docker", "compose"]
    if shutil.which("docker") and not subprocess.run([*plugin, "version"], capture_output=True).returncode:
        return plugin
    return None


needs_compose = pytest.mark.skipif(compose_command() is None, reason="Compose is not installed")


def read_by_compose(profile, **variables):
    settings = {"PATH": os.environ["PATH"], **variables}
    command = [*compose_command(), "--env-file", ".env.example", "--profile", profile, "config"]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_may_do_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "network_mode", "user"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_may_take_more_than_its_share(name):
    limit = SERVICES[name]["mem_limit"]
    assert re.fullmatch(r"\d+g", re.sub(r"\$\{\w+:-(.*)\}", r"\1", limit))
    assert SERVICES[name]["pids_limit"] == 256


@pytest.mark.parametrize("name", SERVICES)
def test_mounts_are_read_only_but_for_a_volume_of_ones_own(name):
    writable = [mount for mount in SERVICES[name]["volumes"] if not mount.endswith(":ro")]
    assert {mount.split(":")[0] for mount in writable} <= {f"{name}-data"} & set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_a_foreign_container_is_asked_on_its_own_port_whether_it_is_well(name):
    check = SERVICES[name]["healthcheck"]
    port = SERVICES[name]["ports"][0].rpartition(":")[2]
    assert check["test"][0] == "CMD"
    assert f"http://127.0.0.1:{port}/" in check["test"][-1]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", SERVICES)
def test_no_environment_holds_a_secret(name):
    words = ("PASSWORD", "SECRET", "TOKEN", "KEY")
    environment = SERVICES[name].get("environment", {})
    secret = {variable for variable in environment if any(word in variable for word in words)}
    assert {variable for variable in secret if not variable.endswith("_FILE")} == set()
    mounted = {f"/run/secrets/{secret}" for secret in SERVICES[name].get("secrets", [])}
    assert {environment[variable] for variable in secret} <= mounted


def test_secrets_are_files_that_git_ignores_and_the_deployment_page_makes():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    page = (ROOT / "docs/operations.md").read_text()
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./secrets/")
        assert secret["file"].removeprefix("./") in page
    assert "/secrets/" in ignored


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_alone_by_default(name):
    for port in SERVICES[name]["ports"]:
        assert port.startswith(("127.0.0.1:", "${PUBLISH_ADDRESS:-127.0.0.1}:"))


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_foreign_images_are_pinned_to_a_version(name):
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


@pytest.mark.parametrize(("profile", "device"), [("gpu", "cuda"), ("cpu", "cpu")])
def test_a_profile_builds_for_its_device_and_serves_on_it(profile, device):
    service = SERVICES[f"service-{profile}"]
    assert service["profiles"] == [profile]
    assert service["build"]["args"] == {"EXTRA": profile}
    assert service["environment"]["RBM_DEVICE"] == device
    assert ("deploy" in service) == (profile == "gpu")


@pytest.mark.parametrize("name", ["service-gpu", "service-cpu"])
def test_the_service_is_told_only_settings_it_knows(name):
    assert set(SERVICES[name]["environment"]) <= KNOWN_SETTINGS


@pytest.mark.parametrize("name", ["service-gpu", "service-cpu"])
def test_every_setting_can_be_given_to_the_service(name):
    image = (ROOT / "docker/service.Dockerfile").read_text()
    by_the_image = set(re.findall(rf"\b({ENV_PREFIX}\w+)=", image))
    by_overlays = {f"{ENV_PREFIX}{secret.upper()}_FILE" for secret in OVERLAYS}
    assert KNOWN_SETTINGS - set(SERVICES[name]["environment"]) == by_the_image | by_overlays


@pytest.mark.parametrize("name", ["service-gpu", "service-cpu"])
def test_a_service_may_drain_to_the_end_before_it_is_killed(name):
    grace_seconds = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace_seconds >= int(SERVICES[name]["environment"]["RBM_DRAIN_SECONDS"]) + 5


@pytest.mark.parametrize("name", ["service-gpu", "service-cpu"])
def test_the_model_repository_is_mounted_as_a_folder_that_cannot_be_written(name):
    assert SERVICES[name]["volumes"] == ["${MODELS_FOLDER:-./models}:/models:ro"]


@pytest.mark.parametrize("name", ["service-gpu", "service-cpu"])
def test_prometheus_finds_the_service_in_either_profile(name):
    (target,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["scrape_configs"]
    (alias,) = SERVICES[name]["networks"]["default"]["aliases"]
    port = SERVICES[name]["environment"]["RBM_METRICS_PORT"]
    assert target["static_configs"] == [{"targets": [f"{alias}:{port}"]}]


def test_the_example_explains_every_variable_with_its_default():
    written = "".join(path.read_text() for path in (ROOT / "docker-compose.yml", *OVERLAYS.values()))
    used = dict(re.findall(r"\$\{(\w+):[-?]([^}]*)\}", written))
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert set(shown) == {*used, "COMPOSE_PROFILES", "COMPOSE_FILE"}
    overlays = [str(path.relative_to(ROOT)) for path in OVERLAYS.values()]
    assert shown.pop("COMPOSE_FILE").split(":") == ["docker-compose.yml", *overlays]
    del shown["COMPOSE_PROFILES"]
    assert shown == used


def test_grafana_finds_its_dashboards_where_they_are_mounted():
    provisioning = ROOT / "docker/grafana/provisioning/dashboards/rbm.yml"
    (provider,) = yaml.safe_load(provisioning.read_text())["providers"]
    mount = f"./docker/grafana/dashboards:{provider['options']['path']}:ro"
    assert mount in SERVICES["grafana"]["volumes"]


def test_mounted_files_exist():
    mounts = [
        mount.split(":")[0] for name in ("prometheus", "grafana") for mount in SERVICES[name]["volumes"]
    ]
    here = [mount for mount in mounts if mount.startswith("./")]
    assert here
    assert [mount for mount in here if not (ROOT / mount).exists()] == []


@pytest.mark.parametrize("secret", OVERLAYS)
def test_keys_are_asked_for_only_where_the_file_of_keys_is_a_secret_of_the_service(secret):
    overlay = yaml.safe_load(OVERLAYS[secret].read_text())
    assert set(overlay["services"]) == {"service-gpu", "service-cpu"}
    for service in overlay["services"].values():
        assert service["secrets"] == [secret]
        assert service["environment"] == {f"RBM_{secret.upper()}_FILE": f"/run/secrets/{secret}"}
        assert set(service["environment"]) <= KNOWN_SETTINGS
    assert set(overlay["secrets"]) == {secret}
    assert not [name for name in SERVICES if secret in SERVICES[name].get("secrets", ())]


@needs_compose
def test_compose_gives_the_service_its_keys(tmp_path):
    for name in OVERLAYS:
        (tmp_path / name).touch()
    variables = {f"{name.upper()}_FILE": str(tmp_path / name) for name in OVERLAYS}
    files = ":".join(map(str, (ROOT / "docker-compose.yml", *OVERLAYS.values())))
    done = read_by_compose("cpu", COMPOSE_FILE=files, **variables)
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["service-cpu"]
    for name in OVERLAYS:
        assert service["environment"][f"RBM_{name.upper()}_FILE"] == f"/run/secrets/{name}"
    assert service["environment"]["RBM_DEVICE"] == "cpu"
    assert {secret["source"] for secret in service["secrets"]} == set(OVERLAYS)


@needs_compose
@pytest.mark.parametrize(("profile", "device"), [("gpu", "cuda"), ("cpu", "cpu")])
def test_compose_reads_each_profile(profile, device):
    done = read_by_compose(profile)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {f"service-{profile}", "prometheus", "grafana"} <= set(services)
    assert services[f"service-{profile}"]["environment"]["RBM_DEVICE"] == device
    assert services[f"service-{profile}"]["read_only"]
