"""Every option of the server, read once from the environment and checked."""

import hmac
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mcp_server.errors import SettingsError
from mcp_server.models import ServiceName

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_TEMPLATE = re.compile(r"\$\{[^}]*\}|\$\w+|%\w+%")
_UNSET = frozenset({"null", "undefined"})  # what a host's template of an absent value becomes
_TOKENS = ("token", "http_token")
_QUOTED = re.compile(r"""(["'`])(.*)\1""", re.DOTALL)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_SHORTEST_SECRET = 32

T = TypeVar("T")

Names = Annotated[
    tuple[str, ...],
    BeforeValidator(
        lambda given: (
            tuple(h.strip().lower() for h in given.split(",") if h.strip())
            if isinstance(given, str)
            else given
        )
    ),
]

Folders = Annotated[
    tuple[Path, ...],
    BeforeValidator(
        lambda given: (
            tuple(map(str.strip, filter(str.strip, given.split(os.pathsep))))
            if isinstance(given, str)
            else given
        )
    ),
]

ByService = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(lambda given: _pairs(given) if isinstance(given, str) else given),
]


def _pairs(given: str) -> tuple[tuple[str, str], ...]:
    """`pixverse=you@example.com,dreamina=US:you@example.com` as pairs."""
    pairs = {}
    for part in filter(None, map(str.strip, given.split(","))):
        name, _, account = (word.strip() for word in part.partition("="))
        name = re.sub(r"[ _]", "-", name.lower())
        if name not in get_args(ServiceName) or not account or name in pairs:
            services = ", ".join(get_args(ServiceName))
            raise ValueError(
                f"it must hold service=account, comma-separated, each service once: {services}"
            )
        pairs[name] = account
    return tuple(pairs.items())


def _setting(name: str, description: str, default: T, **limits: Any) -> T:
    """A pydantic field, with the type of its default for mypy."""
    field: T = Field(default, alias=name, description=description, **limits)
    return field


class Settings(BaseModel):
    """Made by `Settings.read(environment)`.

    A variable that is unset, empty, `null`, `undefined` or nothing but a `${template}` means the
    default.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, hide_input_in_errors=True)

    token: SecretStr | None = _setting(
        "USEAPI_TOKEN", "Your useapi.net API token, whole, with its `user:` prefix.", None
    )
    base_url: str = _setting(
        "USEAPI_BASE_URL",
        "Where the API is; https, or http to this machine only.",
        "https://api.useapi.net",
    )
    sandbox: bool = _setting(
        "USEAPI_SANDBOX",
        "true = use the built-in sandbox: no token, no cost, like --sandbox.",
        False,
    )
    sandbox_job_seconds: float = _setting(
        "USEAPI_SANDBOX_JOB_SECONDS", "Seconds a job in the sandbox takes.", 3.0, ge=0, le=3600
    )
    output_dir: Path | None = _setting(
        "USEAPI_OUTPUT_DIR",
        "Folder for finished files; default: your downloads folder/useapi-mcp.",
        None,
    )
    input_dirs: Folders = _setting(
        "USEAPI_INPUT_DIRS",
        "Folders whose files may be given as a source, separated as in PATH; default on stdio: your"
        " desktop, documents, downloads, pictures and videos, and the output folder; over HTTP:"
        " none.",
        (),
    )
    state_dir: Path | None = _setting(
        "USEAPI_STATE_DIR",
        "Folder for the journal; default: your system's folder for app state.",
        None,
    )
    database_url: SecretStr | None = _setting(
        "USEAPI_DATABASE_URL",
        "PostgreSQL database for the journal of several servers, instead of that folder:"
        " postgresql://user:password@host/database.",
        None,
    )
    public_url: str | None = _setting(
        "USEAPI_PUBLIC_URL",
        "Address at which clients reach `useapi-mcp http`, without /mcp: https://mcp.example.com.",
        None,
    )
    server_secret: SecretStr | None = _setting(
        "USEAPI_SECRET",
        "Secret that signs what this server hands out, 32 characters or more, the same on all"
        " servers of a team; several, comma-separated: the first signs, all are accepted.",
        None,
    )
    oauth_issuer: str | None = _setting(
        "USEAPI_OAUTH_ISSUER",
        "Your identity provider, as its own metadata writes it (`issuer`): clients of `useapi-mcp"
        " http` log in there; needs USEAPI_PUBLIC_URL.",
        None,
    )
    oauth_audience: str | None = _setting(
        "USEAPI_OAUTH_AUDIENCE",
        "Audience (`aud`) that its tokens must have; default: USEAPI_PUBLIC_URL and /mcp.",
        None,
    )
    calls_per_minute: int = _setting(
        "USEAPI_CALLS_PER_MINUTE",
        "Requests a minute that one user may send to one `useapi-mcp http`; the holder of"
        " USEAPI_HTTP_TOKEN may send any number.",
        120,
        ge=1,
    )
    webhooks: bool = _setting(
        "USEAPI_WEBHOOKS",
        "true = the vendor is asked to call USEAPI_PUBLIC_URL when a job changes, so that it is"
        " read less often; needs USEAPI_SECRET; a call's reply_url and USEAPI_REPLY_URL go first.",
        False,
    )
    own_tokens: bool = _setting(
        "USEAPI_OWN_TOKENS",
        "true = a user of `useapi-mcp http` may give a useapi.net token of his own, on a page of"
        " this server, which is then used for him instead of USEAPI_TOKEN; needs USEAPI_SECRET and"
        " USEAPI_PUBLIC_URL.",
        False,
    )
    reply_url: str | None = _setting(
        "USEAPI_REPLY_URL",
        "Default webhook (https) that the vendor calls about jobs.",
        None,
        max_length=1024,
    )
    reply_url_hosts: Names = _setting(
        "USEAPI_REPLY_URL_HOSTS",
        "Hosts that `reply_url` may name, comma-separated; default: only that of USEAPI_REPLY_URL.",
        (),
    )
    reply_ref: str | None = _setting(
        "USEAPI_REPLY_REF", "Default reference echoed to the webhook.", None, max_length=1024
    )
    accounts: ByService = _setting(
        "USEAPI_ACCOUNTS",
        "Default account of each service: pixverse=you@example.com,dreamina=US:you@example.com.",
        (),
    )
    service: ServiceName | None = _setting(
        "USEAPI_SERVICE",
        "Service that generates where a call names none: dreamina, google-flow or pixverse;"
        " default: the only one with a healthy account.",
        None,
    )
    hide_arguments: Names = _setting(
        "USEAPI_HIDE_ARGUMENTS",
        "Arguments left out of what models read, and still taken, comma-separated: `common`"
        " (reply_url, reply_ref, max_jobs), `captcha`, or any that can be left out.",
        (),
    )
    max_jobs: int | None = _setting(
        "USEAPI_MAX_JOBS",
        "Default ceiling of concurrent jobs, 1-50 (PixVerse 1-8).",
        None,
        ge=1,
        le=50,
    )
    captcha_retry: int | None = _setting(
        "USEAPI_CAPTCHA_RETRY", "Default captcha attempts on Google Flow, 1-10.", None, ge=1, le=10
    )
    captcha_order: str | None = _setting(
        "USEAPI_CAPTCHA_ORDER",
        "Default captcha providers on Google Flow, comma-separated; not with USEAPI_CAPTCHA_RETRY.",
        None,
        pattern=r"^\w+(, ?\w+){0,9}$",
        max_length=500,
    )
    max_credits_per_day: float | None = _setting(
        "USEAPI_MAX_CREDITS_PER_DAY",
        "Credits a service may cost per UTC day; default: no limit.",
        None,
        ge=0,
    )
    max_credits_per_user_per_day: float | None = _setting(
        "USEAPI_MAX_CREDITS_PER_USER_PER_DAY",
        "The same for what each user of `useapi-mcp http` causes; the operator has no such limit.",
        None,
        ge=0,
    )
    sharing: Literal["private", "team"] = _setting(
        "USEAPI_SHARING",
        "What a user of `useapi-mcp http` sees: private = the jobs that he asked for, team = all.",
        "private",
    )
    queue_seconds: float = _setting(
        "USEAPI_QUEUE_SECONDS",
        "Seconds that what finds an account's slots taken waits for `useapi-mcp http` to submit it;"
        " 0 = it is refused, as it always is on stdio.",
        0,
        ge=0,
        le=86_400,
    )
    max_queued: int = _setting(
        "USEAPI_MAX_QUEUED", "Submissions of one user that may wait so.", 20, ge=1
    )
    confirm_credits: float = _setting(
        "USEAPI_CONFIRM_CREDITS",
        "From this price on a call without max_credits is asked about; an unknown one is 50.",
        50,
        ge=0,
    )
    max_download_mb: int = _setting(
        "USEAPI_MAX_DOWNLOAD_MB", "Largest file that is saved, in MB.", 2048, ge=1
    )
    http_token: SecretStr | None = _setting(
        "USEAPI_HTTP_TOKEN",
        "Bearer token clients of `useapi-mcp http` must send; 16 characters or more.",
        None,
    )
    drain_seconds: float | None = _setting(
        "USEAPI_DRAIN_SECONDS",
        "Seconds that `useapi-mcp http` goes on serving after SIGTERM while `/readyz` says that it"
        " is not ready; default: 5 where anybody asked `/readyz`, else 0.",
        None,
        ge=0,
        le=600,
    )
    metrics_port: int | None = _setting(
        "USEAPI_METRICS_PORT",
        "Port at which `useapi-mcp http` serves `/metrics` to Prometheus, on the address that it"
        " serves; needs `useapi-mcp[team]`; default: none.",
        None,
        ge=1,
        le=65535,
    )
    log_format: Literal["text", "json"] = _setting(
        "USEAPI_LOG_FORMAT",
        "text, or json: one object a line, with `time`, `level`, `logger` and `message`.",
        "text",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting(
        "USEAPI_LOG_LEVEL", "What is logged to stderr: DEBUG, INFO, WARNING or ERROR.", "WARNING"
    )

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """The settings in an environment.

        Plain pydantic, since importing pydantic-settings would add 76 ms to every start.

        Raises:
            SettingsError: one line that names the first wrong setting, never its value.
        """
        try:
            return cls.model_validate(cls._given(environment))
        except ValidationError as error:
            raise _fault(error) from None

    @classmethod
    def read_with_fault(cls, environment: Mapping[str, str]) -> tuple[Self, SettingsError | None]:
        """The settings in an environment without those that are wrong, and what `read` raises.

        For a server that starts all the same and says at each call what is wrong: its host shows
        nothing of a process that ends.
        """
        given, first = cls._given(environment), None
        while True:
            try:
                return cls.model_validate(given), first
            except ValidationError as error:
                first = first or _fault(error)
                wrong = str(error.errors(include_url=False, include_input=False))
                given = {name: value for name, value in given.items() if name not in wrong}

    @classmethod
    def _given(cls, environment: Mapping[str, str]) -> dict[str, str]:
        return {
            name: text
            for field in cls.model_fields.values()
            if (name := str(field.alias)) in environment
            and (text := environment[name].strip())
            and text.lower() not in _UNSET
            and not _TEMPLATE.fullmatch(text)
        }

    @field_validator("*", mode="before")
    @classmethod
    def _is_plain(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuse what only a shell would take away or fill in."""
        if isinstance(value, str) and field.field_name not in _TOKENS:
            if _QUOTED.fullmatch(value):
                raise ValueError("the value is in quotes: take them off")
            if "${" in value:
                raise ValueError("the template in it is not filled in here: write it out")
        return value

    @field_validator(*_TOKENS, mode="before")
    @classmethod
    def _bare(cls, token: Any) -> Any:
        return bare_token(token) if isinstance(token, str) else token

    @field_validator("token")
    @classmethod
    def _token_fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token and not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("the token holds spaces or characters that no token has")
        return token

    @field_validator("base_url", "public_url")
    @classmethod
    def _is_an_origin(cls, url: str | None) -> str | None:
        """The origin in a normal form: the journal's keys begin with it, clients compare it."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        if not (_HOST.fullmatch(host) or host == "::1") or port == 0 or parts.username is not None:
            raise ValueError("it must be an address like https://mcp.example.com")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("it must have no path: the server adds it")
        if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
            raise ValueError("it must begin with https:// (http:// only to this machine)")
        name = f"[{host}]" if ":" in host else host
        end = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
        return f"{parts.scheme}://{name}{end}"

    @field_validator("oauth_issuer")
    @classmethod
    def _is_an_issuer(cls, url: str | None) -> str | None:
        """As it was given: issuers are compared letter by letter, a slash at the end included."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            has_host = bool(parts.hostname) and parts.username is None and parts.port != 0
        except ValueError:
            has_host = False
        if not has_host or parts.query or parts.fragment or not re.fullmatch(r"[\x21-\x7e]+", url):
            raise ValueError("it must be an address like https://login.example.com/realms/team")
        if parts.scheme != "https" and not is_loopback_http(url):
            raise ValueError("it must begin with https:// (http:// only to this machine)")
        return url

    @field_validator("server_secret")
    @classmethod
    def _nobody_guesses_it(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and any(len(part) < _SHORTEST_SECRET for part in _secrets(secret)):
            raise ValueError(f"it must have {_SHORTEST_SECRET} characters or more")
        return secret

    @field_validator("database_url")
    @classmethod
    def _database_can_be_used(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        if not re.match(r"postgres(ql)?://", url.get_secret_value()):
            raise ValueError("it must be an address like postgresql://user:password@host/database")
        if sys.platform == "win32":
            raise ValueError("the driver of the database needs Linux or macOS: unset it here")
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError("the driver of the database is missing: install useapi-mcp[team]")
        return url

    @field_validator("reply_url_hosts")
    @classmethod
    def _hosts_are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST.fullmatch(host) for host in hosts):
            raise ValueError("it must hold names of hosts, without https:// and without a path")
        return hosts

    @field_validator("output_dir", "state_dir")
    @classmethod
    def _whole(cls, path: Path | None) -> Path | None:
        try:
            path = path and path.expanduser()
        except RuntimeError:
            raise ValueError("there is no such home folder") from None
        if path is not None and not path.is_absolute():
            raise ValueError(
                "it must be a whole path; ~ at its start is your home, $NAME is not filled in"
            )
        return path

    @field_validator("input_dirs")
    @classmethod
    def _all_whole(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(whole for path in paths if (whole := cls._whole(path)) is not None)

    @field_validator("reply_url")
    @classmethod
    def _reply_url_is_https(cls, url: str | None) -> str | None:
        if url is not None and not is_https(url):
            raise ValueError("it must begin with https:// and name a host")
        return url

    @field_validator("service", mode="before")
    @classmethod
    def _as_services_are_written(cls, name: Any) -> Any:
        return re.sub(r"[ _]", "-", name.lower()) if isinstance(name, str) else name

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, level: Any) -> Any:
        if not isinstance(level, str):
            return level
        return "WARNING" if level.upper() == "WARN" else level.upper()

    @field_validator("log_format", "sharing", mode="before")
    @classmethod
    def _any_case_too(cls, form: Any) -> Any:
        return form.lower() if isinstance(form, str) else form

    @model_validator(mode="after")
    def _one_captcha_setting(self) -> Self:
        if self.captcha_retry is not None and self.captcha_order is not None:
            raise ValueError(
                "USEAPI_CAPTCHA_RETRY and USEAPI_CAPTCHA_ORDER can't both be set: "
                "the vendor takes one captcha option at a time"
            )
        return self

    @model_validator(mode="after")
    def _an_issuer_needs_an_address(self) -> Self:
        if self.oauth_issuer is not None and self.public_url is None:
            raise ValueError(
                "USEAPI_OAUTH_ISSUER needs USEAPI_PUBLIC_URL: tokens must be made for this server"
            )
        return self

    @model_validator(mode="after")
    def _webhooks_have_an_address(self) -> Self:
        if self.webhooks and (self.public_url is None or self.server_secret is None):
            raise ValueError(
                "USEAPI_WEBHOOKS needs USEAPI_PUBLIC_URL, the address that the vendor calls, and"
                " USEAPI_SECRET, which signs it"
            )
        return self

    @model_validator(mode="after")
    def _own_tokens_have_a_page(self) -> Self:
        if self.own_tokens and (self.public_url is None or self.server_secret is None):
            raise ValueError(
                "USEAPI_OWN_TOKENS needs USEAPI_PUBLIC_URL, the address of the page, and"
                " USEAPI_SECRET, which seals what is given there"
            )
        return self

    @property
    def secret(self) -> str | None:
        """The token itself, for the Authorization header and for the log's filter."""
        return self.token.get_secret_value() if self.token else None

    def derived_keys(self, purpose: str) -> tuple[bytes, ...]:
        """Keys for one purpose from USEAPI_SECRET: the first signs, all are accepted.

        They are the same on all servers with the same secret; without one there are none.
        """
        secrets = () if self.server_secret is None else _secrets(self.server_secret)
        return tuple(
            hmac.digest(secret.encode(), f"useapi-mcp {purpose}".encode(), "sha256")
            for secret in secrets
        )

    @property
    def is_loopback(self) -> bool:
        return urlsplit(self.base_url).hostname in LOOPBACK

    @property
    def allowed_reply_hosts(self) -> frozenset[str]:
        own = {str(urlsplit(self.reply_url).hostname)} if self.reply_url else set()
        return frozenset(self.reply_url_hosts) or frozenset(own)

    @property
    def job_defaults(self) -> dict[str, Any]:
        """Defaults for the arguments every paid tool has, by argument name."""
        names = ("reply_url", "reply_ref", "max_jobs", "captcha_retry", "captcha_order")
        return {n: value for n in names if (value := getattr(self, n)) is not None}

    def output_folder(self) -> Path:
        import platformdirs

        return self.output_dir or Path(platformdirs.user_downloads_dir()) / "useapi-mcp"

    def input_folders(self) -> tuple[Path, ...]:
        """The folders whose files may be read, where the server runs for one user on stdio."""
        import platformdirs

        if self.input_dirs:
            return self.input_dirs
        home = Path.home()
        usual = (
            platformdirs.user_desktop_dir(),
            platformdirs.user_documents_dir(),
            platformdirs.user_downloads_dir(),
            platformdirs.user_videos_dir(),
            str(home / "Movies"),
            platformdirs.user_pictures_dir(),
        )
        # Some systems call the home folder itself the desktop where there is none.
        own = dict.fromkeys(map(Path, usual))
        folders = [path for path in own if path not in (home, *home.parents)]
        return (*folders, self.output_folder())

    def state_folder(self) -> Path:
        import platformdirs

        return self.state_dir or Path(platformdirs.user_state_dir("useapi-mcp", appauthor=False))


def bare_token(given: str) -> str:
    """A token alone: without the quotes and the `Bearer ` it was copied with."""
    found = _QUOTED.fullmatch(given.strip())
    bare = found[2] if found else given
    return re.sub(r"(?i)^bearer\s+", "", bare.strip())


def _secrets(setting: SecretStr) -> tuple[str, ...]:
    return tuple(part.strip() for part in setting.get_secret_value().split(","))


def _fault(error: ValidationError) -> SettingsError:
    """The first fault in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    what = first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0]) if first["loc"] else ""
    sentence = f"{name}: {what[:1].lower()}{what[1:]}." if name else f"{what}."
    return SettingsError(message=sentence, hint="Correct it and start again.")


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting and is none: it may be misspelt."""
    prefix = "USEAPI_"
    known = {str(field.alias).removeprefix(prefix) for field in Settings.model_fields.values()}
    sentences = []
    for name in sorted(environment):
        rest = name.removeprefix(prefix)
        if rest not in (name, *known):
            from difflib import get_close_matches

            near = get_close_matches(rest, known, n=1)
            meant = f" Do you mean {prefix}{near[0]}?" if near else ""
            sentences.append(f"{name} is no setting of this version, so it does nothing.{meant}")
    return sentences


def is_https(url: str) -> bool:
    """An https URL that names a host and carries no credentials."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "https"
            and bool(parts.hostname)
            and parts.username is None
            and (parts.port is None or parts.port > 0)
            and re.fullmatch(r"[\x21-\x7e]+", url) is not None
        )
    except ValueError:
        return False


def is_loopback_http(url: str) -> bool:
    """A plain http URL of this machine, which nobody in between can read or change."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and parts.hostname in LOOPBACK and parts.username is None
    except ValueError:
        return False
