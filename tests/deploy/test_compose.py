"""docker-compose.yml: profiles, limits, health, and that no placeholder starts anything."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = {name: one for name, one in SERVICES.items() if not name.startswith("secrets-")}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / "deploy" / "env.example").read_text().splitlines()
    if "=" in line and not line.startswith("#")
)


def test_every_profile_is_there() -> None:
    assert {profile for one in SERVICES.values() for profile in one["profiles"]} == {
        "single",
        "gpu",
        "postgres",
        "milvus",
    }


@pytest.mark.parametrize("name", LASTING)
def test_a_service_is_limited_started_again_and_looked_after(name: str) -> None:
    one = LASTING[name]
    assert one["restart"] == "unless-stopped"
    assert set(one["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert re.fullmatch(r"descry:(cpu|cuda)|[a-z0-9./-]+:[a-zA-Z]*v?\.?\d+[.-]\d+[\w.-]*", one["image"])
    if name == "worker":
        assert one["healthcheck"] == {"disable": True}
    elif not one["image"].startswith("descry:"):  # the image of Descry has a check of its own
        assert one["healthcheck"]["test"][0] == "CMD"
    for port in one.get("ports", []):
        assert name == "proxy" or port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", LASTING)
def test_what_it_names_exists(name: str) -> None:
    one = LASTING[name]
    for needed, how in one.get("depends_on", {}).items():
        assert set(SERVICES[needed]["profiles"]) == set(one["profiles"])
        assert how["condition"] == (
            "service_completed_successfully" if needed.startswith("secrets-") else "service_healthy"
        )
    for volume in one.get("volumes", []):
        source = volume.split(":")[0]
        assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]
    assert set(one.get("networks", [])) <= set(COMPOSE["networks"])


def test_variables_of_the_servers_are_settings() -> None:
    for name in ("api", "worker"):
        given = SERVICES[name]["environment"]
        own = [key.removeprefix("DESCRY_").lower() for key in given if key.startswith("DESCRY_")]
        assert "database_url" in own
        assert set(own) <= set(Settings.model_fields)
    trusted = SERVICES["api"]["environment"]["DESCRY_TRUSTED_PROXIES"]
    assert Settings(trusted_proxies=trusted).trusted_proxies == (
        COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"],
    )
    # Only who is believed, and who believes, are in that network.
    assert [name for name, one in SERVICES.items() if "front" in one.get("networks", [])] == ["api", "proxy"]


def test_the_example_names_every_variable_and_no_secret() -> None:
    asked = set(re.findall(r"\$\{(\w+)", TEXT))
    assert asked == set(EXAMPLE)
    for name, value in EXAMPLE.items():
        if re.search("PASSWORD|SECRET|TOKEN|ROOT_USER", name):
            assert value in ("", "CHANGE-ME")
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def checked(profile: str, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    names = SERVICES[f"secrets-{profile}"]["command"][2:]
    command = ["sh", str(ROOT / "deploy" / "check-secrets.sh"), *names]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("profile", ["postgres", "milvus"])
def test_the_example_as_it_is_starts_nothing(profile: str) -> None:
    done = checked(profile, EXAMPLE)
    assert done.returncode == 1
    names = SERVICES[f"secrets-{profile}"]["command"][2:]
    assert [name for name in names if f"{name} is still a placeholder" not in done.stderr] == []
    assert set(SERVICES[f"secrets-{profile}"]["environment"]) == set(names)
    # Every service of the profile waits for the check, by itself or through another one.
    waits = {name for name, one in SERVICES.items() if f"secrets-{profile}" in one.get("depends_on", {})}
    for name, one in LASTING.items():
        if profile in one["profiles"]:
            assert name in waits or waits & set(one["depends_on"])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "not set"),
        ("CHANGE-ME", "placeholder"),
        ("minioadmin", "placeholder"),
        ("short", "fewer than 16"),
        ("a password with/slashes@", "letters, digits"),
    ],
)
def test_bad_secrets_are_refused_without_being_shown(value: str, why: str) -> None:
    done = checked("postgres", {"POSTGRES_PASSWORD": value, "DESCRY_SITE": "descry.station.net"})
    assert done.returncode == 1
    assert why in done.stderr
    assert value == "" or value not in done.stdout + done.stderr


def test_good_ones_pass() -> None:
    done = checked("postgres", {"POSTGRES_PASSWORD": "0123456789abcdef0123", "DESCRY_SITE": "descry.station.net"})
    assert (done.returncode, done.stderr) == (0, "")
