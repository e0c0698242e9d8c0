"""Settings: every option from its environment variable, checked, with a default."""

import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.errors import SettingsError
from mcp_server.settings import Settings, is_https, is_loopback_http, unknown_settings

FIELDS = {str(field.alias): name for name, field in Settings.model_fields.items()}


def refusal(**environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.read(environment)
    return str(caught.value)


def test_nothing_need_be_set() -> None:
    settings = Settings.read({})

    assert settings.secret is None
    assert "https://api.useapi.net" == settings.base_url
    assert (False, 3.0, 2048, "WARNING") == (
        settings.sandbox,
        settings.sandbox_job_seconds,
        settings.max_download_mb,
        settings.log_level,
    )
    assert (50, None) == (settings.confirm_credits, settings.max_credits_per_day)
    assert (None, "private") == (settings.max_credits_per_user_per_day, settings.sharing)
    assert (0, 20) == (settings.queue_seconds, settings.max_queued)
    assert {} == settings.job_defaults
    assert frozenset() == settings.allowed_reply_hosts


@pytest.mark.parametrize("field", Settings.model_fields.values(), ids=list(Settings.model_fields))
def test_every_setting_is_told_in_a_sentence_under_a_name_of_ours(field: object) -> None:
    alias, description = getattr(field, "alias", ""), getattr(field, "description", "")

    assert alias.startswith("USEAPI_")
    assert description.endswith(".")


def test_every_setting_can_be_set() -> None:
    settings = Settings.read(
        {
            "USEAPI_TOKEN": "user:1-abc",
            "USEAPI_BASE_URL": "http://localhost:8001",
            "USEAPI_SANDBOX": "true",
            "USEAPI_SANDBOX_JOB_SECONDS": "0.5",
            "USEAPI_OUTPUT_DIR": "/tmp/out",
            "USEAPI_STATE_DIR": "/tmp/state",
            "USEAPI_REPLY_URL": "https://hooks.example.com/x",
            "USEAPI_REPLY_URL_HOSTS": " A.example.com, b.example.com ,",
            "USEAPI_REPLY_REF": "film 7",
            "USEAPI_ACCOUNTS": " PixVerse=You@example.com, google flow = me@example.com,",
            "USEAPI_HIDE_ARGUMENTS": "common, limit",
            "USEAPI_MAX_JOBS": "8",
            "USEAPI_CAPTCHA_RETRY": "5",
            "USEAPI_MAX_CREDITS_PER_DAY": "300.5",
            "USEAPI_MAX_CREDITS_PER_USER_PER_DAY": "20",
            "USEAPI_SHARING": "Team",
            "USEAPI_QUEUE_SECONDS": "1800",
            "USEAPI_MAX_QUEUED": "5",
            "USEAPI_CONFIRM_CREDITS": "0",
            "USEAPI_MAX_DOWNLOAD_MB": "10",
            "USEAPI_HTTP_TOKEN": "s3cret",
            "USEAPI_LOG_LEVEL": "debug",
        }
    )

    assert (1800, 5) == (settings.queue_seconds, settings.max_queued)
    assert "user:1-abc" == settings.secret
    assert ("http://localhost:8001", True) == (settings.base_url, settings.is_loopback)
    assert (Path("/tmp/out"), Path("/tmp/state")) == (
        settings.output_folder(),
        settings.state_folder(),
    )
    assert {"a.example.com", "b.example.com"} == settings.allowed_reply_hosts
    assert {"pixverse": "You@example.com", "google-flow": "me@example.com"} == dict(
        settings.accounts
    )
    assert {
        "reply_url": "https://hooks.example.com/x",
        "reply_ref": "film 7",
        "max_jobs": 8,
        "captcha_retry": 5,
    } == settings.job_defaults
    assert (20, "team") == (settings.max_credits_per_user_per_day, settings.sharing)
    assert (300.5, 0.0, 10, "DEBUG") == (
        settings.max_credits_per_day,
        settings.confirm_credits,
        settings.max_download_mb,
        settings.log_level,
    )


@pytest.mark.parametrize(
    "unset", ["", "  ", "${user_config.x}", " ${HOME} ", "$HOME", "%HOME%", "null", "undefined"]
)
def test_an_empty_value_or_a_template_nobody_filled_in_is_unset(unset: str) -> None:
    environment = dict.fromkeys(FIELDS, unset)

    assert Settings.read({}) == Settings.read(environment)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_quotes_and_templates_that_only_a_shell_takes_away_are_refused(name: str) -> None:
    if name in ("USEAPI_TOKEN", "USEAPI_HTTP_TOKEN"):
        return
    for value in ("'x'", '"/tmp/out"', "`x`"):
        assert refusal(**{name: value}).startswith(f"{name}: the value is in quotes")
    assert refusal(**{name: "${HOME}/clips"}).startswith(f"{name}: the template in it")


@pytest.mark.parametrize(
    "wrong", ["canary@example.com", "pixverse=", "runway=canary", "pixverse=canary,PIXVERSE=canary"]
)
def test_accounts_that_name_no_service_or_one_twice_are_refused_without_being_repeated(
    wrong: str,
) -> None:
    told = refusal(USEAPI_ACCOUNTS=wrong)

    assert told.startswith("USEAPI_ACCOUNTS: it must hold service=account, comma-separated")
    assert "dreamina, google-flow, pixverse" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "given", ["Bearer user:1-abc", "bearer  user:1-abc", '"user:1-abc"', "'Bearer user:1-abc'"]
)
def test_a_token_may_be_copied_with_its_quotes_and_its_scheme(given: str) -> None:
    settings = Settings.read({"USEAPI_TOKEN": given, "USEAPI_HTTP_TOKEN": given})

    assert "user:1-abc" == settings.secret
    assert settings.http_token is not None
    assert "user:1-abc" == settings.http_token.get_secret_value()


def test_one_secret_gives_each_purpose_keys_of_its_own_and_the_old_one_is_still_accepted() -> None:
    old, new = "o" * 32, "n" * 40
    before = Settings.read({"USEAPI_SECRET": old})
    after = Settings.read({"USEAPI_SECRET": f"{new}, {old}"})

    assert () == Settings.read({}).derived_keys("links")
    (old_key,) = before.derived_keys("links")
    assert old_key == after.derived_keys("links")[1]
    keys = {*after.derived_keys("links"), *after.derived_keys("hooks")}
    assert 4 == len(keys)
    assert not any(part.encode() in key for part in (old, new) for key in keys)


@pytest.mark.parametrize("wrong", ["short", f"{'a' * 32},short", f"{'a' * 32},"])
def test_a_secret_that_can_be_guessed_is_refused_without_being_repeated(wrong: str) -> None:
    told = refusal(USEAPI_SECRET=wrong)

    assert told.startswith("USEAPI_SECRET: it must have 32 characters or more")
    assert "aaa" not in told


def test_the_address_for_clients_is_kept_in_the_form_that_they_compare() -> None:
    settings = Settings.read({"USEAPI_PUBLIC_URL": "HTTPS://MCP.Example.com:443/"})

    assert "https://mcp.example.com" == settings.public_url
    assert refusal(USEAPI_PUBLIC_URL="https://mcp.example.com/mcp").startswith(
        "USEAPI_PUBLIC_URL: it must have no path"
    )


ADDRESS = {"USEAPI_PUBLIC_URL": "https://mcp.example.com"}


@pytest.mark.parametrize(
    "issuer",
    ["https://team.example.com/", "https://a.example.com/realms/Team", "http://localhost:8080/x"],
)
def test_an_issuer_is_kept_letter_by_letter_as_clients_compare_it(issuer: str) -> None:
    assert issuer == Settings.read({"USEAPI_OAUTH_ISSUER": issuer, **ADDRESS}).oauth_issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "team.example.com",
        "http://team.example.com",
        "https://",
        "https://team.example.com/?a=b",
        "https://team.example.com/#a",
        "https://user:word@team.example.com",
        "https://team.example.com:0",
        "https://team.example.com:port",
        "https://team.example.com/a b",
        "ftp://team.example.com",
        "https://[::1",
    ],
)
def test_an_issuer_that_could_never_be_one_is_refused(issuer: str) -> None:
    text = refusal(USEAPI_OAUTH_ISSUER=issuer, **ADDRESS)

    assert text.startswith("USEAPI_OAUTH_ISSUER: it must ")


def test_an_issuer_needs_the_address_that_its_tokens_are_for() -> None:
    environment = {"USEAPI_OAUTH_ISSUER": "https://team.example.com", "USEAPI_TOKEN": "user:1-abc"}

    assert refusal(**environment).startswith("USEAPI_OAUTH_ISSUER needs USEAPI_PUBLIC_URL")
    assert Settings.read_with_fault(environment)[0].secret == "user:1-abc"


@pytest.mark.parametrize(
    "url", ["http://localhost:1/keys", "http://127.0.0.1/keys", "http://[::1]:1/keys"]
)
def test_plain_http_of_this_machine_is_told_from_that_of_others(url: str) -> None:
    assert is_loopback_http(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://a@localhost",
        "http://[::1",
        "",
    ],
)
def test_what_only_looks_like_this_machine_is_none(url: str) -> None:
    assert not is_loopback_http(url)


def test_warn_is_the_level_of_warnings() -> None:
    assert "WARNING" == Settings.read({"USEAPI_LOG_LEVEL": "warn"}).log_level


@pytest.mark.parametrize("relative", ["clips", "./clips", "$HOME/clips", "%USERPROFILE%/clips"])
@pytest.mark.parametrize("name", ["USEAPI_OUTPUT_DIR", "USEAPI_STATE_DIR"])
def test_a_folder_that_would_be_another_one_in_each_host_is_refused(
    name: str, relative: str
) -> None:
    assert "it must be a whole path" in refusal(**{name: relative})


def test_what_is_wrong_can_be_left_out_and_told() -> None:
    settings, fault = Settings.read_with_fault(
        {
            "USEAPI_TOKEN": "user:1-abc",
            "USEAPI_MAX_JOBS": "51",
            "USEAPI_OUTPUT_DIR": "clips",
            "USEAPI_CAPTCHA_RETRY": "2",
            "USEAPI_CAPTCHA_ORDER": "a,b",
        }
    )

    assert ("user:1-abc", {}) == (settings.secret, settings.job_defaults)
    assert str(fault).startswith("USEAPI_OUTPUT_DIR: it must be a whole path")


def test_with_nothing_wrong_there_is_no_fault() -> None:
    given = {"USEAPI_TOKEN": "user:1-abc"}

    assert (Settings.read(given), None) == Settings.read_with_fault(given)


def test_a_value_may_have_spaces_round_it() -> None:
    assert "user:1-abc" == Settings.read({"USEAPI_TOKEN": " user:1-abc\n"}).secret


def test_a_setting_that_is_none_may_be_misspelt() -> None:
    told = unknown_settings({"USEAPI_TOKN": "x", "USEAPI_TOKEN": "y", "USEAPI_ZZZ": "", "HOME": ""})

    nothing = "is no setting of this version, so it does nothing."
    assert [
        f"USEAPI_TOKN {nothing} Do you mean USEAPI_TOKEN?",
        f"USEAPI_ZZZ {nothing}",
    ] == told


def test_other_variables_are_none_of_ours() -> None:
    assert Settings.read({}) == Settings.read({"HOME": "/x", "USEAPI_NO_SUCH": "y", "token": "z"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USEAPI_TOKEN", "user:1-abc def"),
        ("USEAPI_TOKEN", "user:1-äbc"),
        ("USEAPI_TOKEN", "user:1-abc\x00"),
        ("USEAPI_SANDBOX", "perhaps"),
        ("USEAPI_SANDBOX_JOB_SECONDS", "-1"),
        ("USEAPI_SANDBOX_JOB_SECONDS", "nan"),
        ("USEAPI_OUTPUT_DIR", "~no-such-user-of-ours/x"),
        ("USEAPI_DATABASE_URL", "mysql://me:hidden@example.com/x"),
        ("USEAPI_REPLY_URL", "http://example.com"),
        ("USEAPI_REPLY_URL", "https://" + "x" * 1020 + ".com"),
        ("USEAPI_REPLY_URL_HOSTS", "https://example.com"),
        ("USEAPI_REPLY_URL_HOSTS", "ok.example.com, no/path"),
        ("USEAPI_REPLY_REF", "x" * 1025),
        ("USEAPI_MAX_JOBS", "0"),
        ("USEAPI_MAX_JOBS", "51"),
        ("USEAPI_MAX_JOBS", "many"),
        ("USEAPI_CAPTCHA_RETRY", "11"),
        ("USEAPI_CAPTCHA_ORDER", "CapSolver; rm"),
        ("USEAPI_MAX_CREDITS_PER_DAY", "-0.1"),
        ("USEAPI_CONFIRM_CREDITS", "nan"),
        ("USEAPI_MAX_DOWNLOAD_MB", "0"),
        ("USEAPI_MAX_DOWNLOAD_MB", "1.5"),
        ("USEAPI_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_not_its_value(name: str, value: str) -> None:
    said = refusal(**{name: value})

    assert said.startswith(f"{name}: ")
    assert said.endswith(" Correct it and start again.")
    assert "\n" not in said
    assert value not in said


def test_two_captcha_settings_are_one_too_many() -> None:
    said = refusal(USEAPI_CAPTCHA_RETRY="3", USEAPI_CAPTCHA_ORDER="CapSolver,2Captcha")

    assert said.startswith("USEAPI_CAPTCHA_RETRY and USEAPI_CAPTCHA_ORDER can't both be set")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("given_url", "origin", "is_loopback"),
    [
        ("https://api.useapi.net/", "https://api.useapi.net", False),
        ("HTTPS://API.UseAPI.net:443", "https://api.useapi.net", False),
        ("https://proxy.example.com:8443", "https://proxy.example.com:8443", False),
        ("http://127.0.0.1:8001/", "http://127.0.0.1:8001", True),
        ("http://localhost:80", "http://localhost", True),
        ("http://[::1]:9", "http://[::1]:9", True),
        ("https://127.0.0.1", "https://127.0.0.1", True),
    ],
)
def test_the_base_url_is_an_origin_in_one_spelling(
    given_url: str, origin: str, is_loopback: bool
) -> None:
    settings = Settings.read({"USEAPI_BASE_URL": given_url})

    assert (origin, is_loopback) == (settings.base_url, settings.is_loopback)


@pytest.mark.parametrize(
    "url",
    [
        "api.useapi.net",
        "http://api.useapi.net",
        "http://127.0.0.1.evil.com",
        "ftp://localhost",
        "https://",
        "https://user@api.useapi.net",
        "https://@api.useapi.net",
        "https://api.useapi.net/v1",
        "https://api.useapi.net?x=1",
        "https://api.useapi.net#x",
        "https://api.useapi.net:0",
        "https://api.useapi.net:99999",
        "https://api.useapi.net:x",
        "https://api.useapi.net\\@evil.com",
        "https://api useapi.net",
        "https://[::1",
        "https://exämple.com",
    ],
)
def test_a_base_url_that_is_no_safe_origin_is_refused(url: str) -> None:
    assert refusal(USEAPI_BASE_URL=url).startswith("USEAPI_BASE_URL: it must ")


@given(st.text())
def test_any_base_url_is_an_origin_or_refused(url: str) -> None:
    try:
        origin = Settings.read({"USEAPI_BASE_URL": url}).base_url
    except SettingsError:
        return

    assert origin.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]"))
    assert 2 == origin.count("/")


class WithoutDriver(MetaPathFinder):
    """What Python finds where the database's driver is not installed."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, *rest: Any) -> Any:
        return None if name == "psycopg" else self._finder.find_spec(name, *rest)


def test_a_database_needs_a_driver_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    url = {"USEAPI_DATABASE_URL": "postgresql://me:hidden@example.com/x"}
    assert Settings.read(url).database_url is not None
    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    monkeypatch.setattr(sys, "meta_path", [WithoutDriver(each) for each in sys.meta_path])

    said = refusal(**url)

    assert "install useapi-mcp[team]" in said
    assert "hidden" not in said


def test_a_database_is_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    assert "needs Linux or macOS" in refusal(USEAPI_DATABASE_URL="postgresql://me@example.com/x")


def test_the_token_is_not_shown_by_accident() -> None:
    settings = Settings.read(
        {
            "USEAPI_TOKEN": "user:1-abc",
            "USEAPI_HTTP_TOKEN": "hidden",
            "USEAPI_DATABASE_URL": "postgresql://me:hidden@example.com/x",
        }
    )

    shown = f"{settings} {settings!r} {settings.model_dump()}"

    assert "abc" not in shown
    assert "hidden" not in shown


def test_without_a_list_only_the_host_of_the_default_webhook_is_allowed() -> None:
    settings = Settings.read({"USEAPI_REPLY_URL": "https://Hooks.example.com:8443/x"})

    assert {"hooks.example.com"} == settings.allowed_reply_hosts


def test_a_folder_may_begin_at_home() -> None:
    settings = Settings.read({"USEAPI_OUTPUT_DIR": "~/clips", "USEAPI_STATE_DIR": "~"})

    assert Path.home() / "clips" == settings.output_folder()
    assert Path.home() == settings.state_folder()


def test_the_default_folders_are_the_users_own() -> None:
    settings = Settings.read({})

    assert "useapi-mcp" == settings.output_folder().name
    assert settings.output_folder().is_absolute()
    assert "useapi-mcp" in settings.state_folder().parts
    assert settings.output_folder() != settings.state_folder()


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://example.com/hook?x=1", True),
        ("https://example.com:8443", True),
        ("http://example.com", False),
        ("https://", False),
        ("https://user@example.com", False),
        ("https://example.com:0", False),
        ("https://example.com:x", False),
        ("https://exa mple.com", False),
        ("https://example.com/\n", False),
        ("https://[::1", False),
    ],
)
def test_a_webhook_is_https_to_a_host_without_credentials(url: str, fits: bool) -> None:
    assert fits is is_https(url)


@given(st.text())
def test_any_text_is_https_or_not(url: str) -> None:
    assert is_https(url) in (True, False)


def test_webhooks_without_an_address_or_a_secret_are_a_wrong_setting() -> None:
    address, secret = {"USEAPI_PUBLIC_URL": "https://mcp.example.com"}, {"USEAPI_SECRET": "s" * 32}

    for others in ({}, address, secret):
        assert refusal(USEAPI_WEBHOOKS="true", **others).startswith("USEAPI_WEBHOOKS needs")
    assert Settings.read({"USEAPI_WEBHOOKS": "true", **address, **secret}).webhooks


def test_own_tokens_without_an_address_or_a_secret_are_a_wrong_setting() -> None:
    address, secret = {"USEAPI_PUBLIC_URL": "https://a.b"}, {"USEAPI_SECRET": "s" * 32}
    for lacking in ({}, address, secret):
        with pytest.raises(SettingsError, match="USEAPI_OWN_TOKENS needs USEAPI_PUBLIC_URL"):
            Settings.read({"USEAPI_OWN_TOKENS": "true", **lacking})
    assert Settings.read({"USEAPI_OWN_TOKENS": "true", **address, **secret}).own_tokens
    assert not Settings.read({**address, **secret}).own_tokens
