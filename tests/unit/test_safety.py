"""Row 31 of the fault catalogue, as far as settings tell: each unsafe one is a sentence."""

import os
import subprocess
import sys

import pytest

from cityhub.safety import find_unsafe
from core.settings import load_settings

SAFE = {
    "CITYHUB_DATABASE_URL": "postgresql://hub:kV7wq2@10.0.0.5/hub",
    "CITYHUB_BROKER_URL": "mqtts://hub:kV7wq2@broker.example:8883",
    "CITYHUB_API_TOKEN": "0f3c1b6a9d2e4f58",
    "CITYHUB_DISPATCH_URL": "https://93.184.216.34/orders",
    "CITYHUB_DISPATCH_SECRET": "0f3c1b6a9d2e4f58",
}
PUBLIC = "93.184.216.34"

UNSAFE = {
    "public broker, plain": ({"CITYHUB_BROKER_URL": f"mqtt://hub:kV7wq2@{PUBLIC}"}, "mqtts://"),
    "public log, plain": ({"CITYHUB_BROKER_URL": f"nats://hub:kV7wq2@{PUBLIC}"}, "tls://"),
    "one public server of a cluster": (
        {"CITYHUB_BROKER_URL": f"nats://h:kV7wq2@10.0.0.1,nats://h:kV7wq2@{PUBLIC}"}, "tls://",
    ),
    "public database, plain": (
        {"CITYHUB_DATABASE_URL": f"postgresql://hub:kV7wq2@{PUBLIC}/hub"}, "sslmode=verify-full",
    ),
    "public database, prefers TLS": (
        {"CITYHUB_DATABASE_URL": f"postgresql://hub:kV7wq2@{PUBLIC}/hub?sslmode=prefer"},
        "sslmode=verify-full",
    ),
    "public platform, plain": ({"CITYHUB_DISPATCH_URL": f"http://{PUBLIC}/orders"}, "https://"),
    "public page": ({"CITYHUB_API_HOST": PUBLIC}, "behind a proxy"),
    "open page": ({"CITYHUB_API_HOST": "0.0.0.0", "CITYHUB_API_TOKEN": ""}, "api.token"),
    "default password of the database": (
        {"CITYHUB_DATABASE_URL": "postgresql://postgres:postgres@10.0.0.5/hub"}, "everybody tries",
    ),
    "default password of the broker": (
        {"CITYHUB_BROKER_URL": "mqtt://admin:public@10.0.0.5"}, "everybody tries",
    ),
    "default secret of the platform": ({"CITYHUB_DISPATCH_SECRET": "changeme"}, "everybody tries"),
    "window of 3.1.1 below the batch": (
        {"CITYHUB_BROKER_PROTOCOL": "3.1.1"}, "ingest.batch 5000 is above the window of 20",
    ),
    "window of 5 below the batch": (
        {"CITYHUB_BROKER_RECEIVE_MAXIMUM": "100"}, "ingest.batch 5000 is above the window of 100",
    ),
}  # fmt: skip


def test_a_safe_configuration_is_not_refused() -> None:
    assert list(find_unsafe(load_settings(None, SAFE))) == []
    assert list(find_unsafe(load_settings(None, {}))) == []


@pytest.mark.parametrize("what", UNSAFE)
def test_31_an_unsafe_configuration_is_one_sentence(what: str) -> None:
    change, words = UNSAFE[what]
    (sentence,) = find_unsafe(load_settings(None, SAFE | change))
    assert words in sentence
    assert "kV7wq2" not in sentence


def test_31_a_page_behind_a_proxy_needs_a_login() -> None:
    environ = {key: value for key, value in SAFE.items() if key != "CITYHUB_API_TOKEN"}
    settings = load_settings(None, environ, api={"public_hosts": ("hub.city.example",)})
    (sentence,) = find_unsafe(settings)
    assert "set api.token" in sentence


def test_a_batch_that_fits_the_window_of_3_1_1_is_safe() -> None:
    change = {"CITYHUB_BROKER_PROTOCOL": "3.1.1", "CITYHUB_INGEST_BATCH": "20"}
    assert list(find_unsafe(load_settings(None, SAFE | change))) == []


def test_a_url_that_makes_no_sense_is_left_to_who_uses_it() -> None:
    settings = load_settings(None, SAFE | {"CITYHUB_DATABASE_URL": "postgresql://h:x/y/z"})
    assert list(find_unsafe(settings)) == []


@pytest.mark.parametrize("role", ["ingest", "analyse", "alert", "dispatch", "serve"])
def test_31_no_role_starts_with_an_unsafe_setting(role: str) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")}
    done = subprocess.run(
        [sys.executable, "-m", "cityhub", role],
        env=environ | SAFE | {"CITYHUB_API_HOST": PUBLIC},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("cityhub: api.host")
