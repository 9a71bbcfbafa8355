from pathlib import Path

import pytest

from core.errors import ConfigError
from core.reference import describe_settings, example_toml
from core.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]


def test_the_example_file_holds_every_setting_with_its_default() -> None:
    example = ROOT / "cityhub.example.toml"
    assert example.read_text("utf-8") == example_toml(), "run scripts/docs"
    assert load_settings(example, {}) == Settings()


def test_the_reference_of_settings_is_up_to_date() -> None:
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text("utf-8") == describe_settings(), "run scripts/docs"


def test_every_setting_is_explained() -> None:
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        for key, item in getattr(model, "model_fields").items():  # noqa: B009 - a model, not typed so
            assert item.description, f"{section}.{key} has no explanation"


def test_the_environment_wins_over_the_file_and_an_argument_over_both(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("[api]\nport = 1\nhost = '127.0.0.2'\n[log]\nlevel = 'ERROR'\n")
    settings = load_settings(file, {"CITYHUB_API_PORT": "2", "CITYHUB_LOG_LEVEL": "DEBUG"})
    assert (settings.api.host, settings.api.port, settings.log.level) == ("127.0.0.2", 2, "DEBUG")
    settings = load_settings(file, {"CITYHUB_API_PORT": "2"}, api={"port": 3})
    assert settings.api.port == 3


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("[api]\nport = 7\n")
    assert load_settings(None, {"CITYHUB_CONFIG": str(file)}).api.port == 7


@pytest.mark.parametrize(
    ("text", "environ", "says"),
    [
        ("[api]\nprot = 1", {}, "unknown setting api.prot"),
        ("[appi]\nport = 1", {}, "unknown setting appi"),
        ("[api]\nport = 70000", {}, "setting api.port"),
        ("[city]\ntime_zone = 'Mars/Olympus'", {}, "no IANA time zone"),
        ("[dispatch]\nurl = 'ftp://x'", {}, "http:// or https://"),
        ("[api", {}, "not valid TOML"),
        ("", {"CITYHUB_APPI_PORT": "1"}, "there is no section 'appi'"),
        ("", {"CITYHUB_API_PROT": "1"}, "unknown setting api.prot"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_in_one_sentence(
    tmp_path: Path, text: str, environ: dict[str, str], says: str
) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")) as raised:
        load_settings(file, environ)
    assert "\n" not in str(raised.value)


def test_a_secret_never_shows() -> None:
    settings = load_settings(None, {"CITYHUB_DATABASE_URL": "postgresql://u:hush@h/d"})
    assert "hush" not in f"{settings!r} {settings}"
    assert settings.database.url is not None
    assert "hush" in settings.database.url.get_secret_value()


def test_other_variables_of_ours_are_no_settings() -> None:
    environ = {"CITYHUB_TEST_DATABASE_URL": "x", "CITYHUB_FAILPOINT": "a:kill", "PATH": "/bin"}
    assert load_settings(None, environ) == Settings()
