"""`useapi-mcp install <host>` and `uninstall <host>`: the server's entry in a host's file.

Nothing but the entry is changed, and what would change more is refused. Beside the file stays a
copy of it as it was before, without the token that is written here.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mcp_server.cli import check as check_command
from mcp_server.cli.config_file import ConfigFile
from mcp_server.cli.hosts import INPUT, INPUT_ID, SERVER, Host
from mcp_server.errors import SettingsError
from mcp_server.services.health import Check
from mcp_server.settings import Settings

_EXAMPLE_TOKEN = "user:12345-yourtoken"  # noqa: S105 - shown in the place of a token
_PUT_IN = "put the entry in by hand; --print shows it"
_TAKE_OUT = "take the entry out by hand"
_OWN = ("USEAPI_TOKEN", "USEAPI_SANDBOX")


def show(host: Host, path: Path, command: list[str], *, sandbox: bool) -> str:
    """What `install --print` says: the file, and the block that belongs into it; no real token."""
    entry = host.entry(command, None if sandbox else _EXAMPLE_TOKEN)
    return f"This belongs into {path}:\n\n{_added(host, '', entry)}\n{host.restart}"


def install(
    host: Host,
    path: Path,
    command: list[str],
    settings: Settings,
    *,
    ask: Callable[[str], str] | None,
    check: Callable[[Settings], Check],
    first_words: str,
) -> str:
    """Put the server into the host's file; gives what to print.

    Args:
        ask: asks the user for the token, unseen; None: nobody can be asked.
        check: what useapi.net says of the token in the settings.
        first_words: what the user may say to the agent then.

    Raises:
        SettingsError: nothing was changed.
    """
    file = ConfigFile(path)
    with _named(host, path, _PUT_IN):
        # Tried before the user is asked for anything.
        _added(host, _read_and_writable(host, file) or "", host.entry([""], ""))
        report, token = _token(host, settings, ask, check)
        text = _read_and_writable(host, file)  # again: the host may have written it meanwhile
        old = _entry_in(host, host.format.read(text or ""))
        entry = _merged(old, host.entry(command, token))
        if entry == old:
            return f"{SERVER} is in {path} already, so nothing was changed."
        new = _added(host, text or "", entry)
        lines = [f"{SERVER} is now in {path}."]
        if text is not None and not _has_command(old):  # else a copy would hold the last token
            file.keep_copy(text)
            lines.append(f"The file as it was: {file.copy}")
        file.write(new)
        if token and file.is_open_to_others():
            lines.append(f"Other users of this machine can read it: chmod 600 '{path}'")
    if host.asks and not settings.sandbox:
        lines.append(f"{host.title} asks for your token at the first start, and keeps it.")
    lines += ["", host.restart, f"Then say: {first_words}"]
    lines += [f"To take it out again: useapi-mcp uninstall {host.name}"]
    return report + "\n".join(lines)


def uninstall(host: Host, path: Path, *, print_only: bool) -> str:
    """Take the server out of the host's file; gives what to print.

    Where nothing else has changed since, the file is then what it was, byte for byte.

    Raises:
        SettingsError: nothing was changed.
    """
    file = ConfigFile(path)
    with _named(host, path, _TAKE_OUT):
        text = file.read()
        entry = _entry_in(host, host.format.read(text or ""))
        if text is None or entry is None:
            return f"{SERVER} is not in {path}, so nothing was changed."
        if print_only:
            return f"{SERVER} would be taken out of {path}."
        _read_and_writable(host, file)
        lines = [f"{SERVER} is no longer in {path}."]
        lines.append(f"{host.title} may run it until it is restarted.")
        copy = _usable_copy(host, file)
        if copy is not None and _added(host, copy, entry) == text:
            file.write(copy)
            file.delete_copy()
            return "\n".join(lines)
        new = _taken_out(host, text, {} if copy is None else host.format.read(copy))
        if file.copy.exists():
            file.write(new)
            lines.append(f"The file as it was before is still there: {file.copy}")
        elif new.strip() in ("", "{}"):  # it was made for the entry
            file.delete()
        else:
            file.write(new)
    return "\n".join(lines)


def _token(
    host: Host,
    settings: Settings,
    ask: Callable[[str], str] | None,
    check: Callable[[Settings], Check],
) -> tuple[str, str | None]:
    """A report on the token for the user, and the token for the file.

    None in the sandbox, which needs none, and empty where the host asks for it.
    """
    if settings.sandbox:
        return "", None
    if host.asks:
        return "", ""
    if settings.secret is None and ask is not None:
        with contextlib.suppress(EOFError):
            typed = {"USEAPI_TOKEN": ask("Your useapi.net token, with its user: prefix: ")}
            settings = settings.model_copy(update={"token": Settings.read(typed).token})
    if settings.secret is None:
        raise SettingsError(
            message="There is no token, so nothing was changed.",
            hint="Set USEAPI_TOKEN, or type the token when asked; --sandbox needs none.",
        )
    found = check(settings)
    if found.token == "refused":  # noqa: S105 - a state
        raise SettingsError(
            message=f"{found.problem} Nothing was changed.",
            hint="Take the whole token of the vendor's e-mail, with `user:` before it.",
        )
    if found.ok:
        return "useapi.net accepts the token.\n\n", settings.secret
    return f"{check_command.table(found, {})}\n\n", settings.secret


def _read_and_writable(host: Host, file: ConfigFile) -> str | None:
    """The text of a file that may be changed; None: it is to be made."""
    if not file.path.parent.is_dir():
        raise SettingsError(
            message=f"There is no folder {file.path.parent}, so {host.title} has not run here.",
            hint=f"Start {host.title} once and do this again.",
        )
    if file.is_read_only():
        raise SettingsError(
            message=f"{file.path} is read-only, so nothing was changed.",
            hint="Make it writable and do this again.",
        )
    text = file.read()
    host.format.read(text or "")
    return text


def _usable_copy(host: Host, file: ConfigFile) -> str | None:
    """The copy that `install` made, unless somebody has changed it since into something else."""
    with contextlib.suppress(ValueError, SettingsError):
        text = file.copy_text()
        if text is not None and _entry_in(host, host.format.read(text)) is None:
            _added(host, text, host.entry([""], ""))
            return text
    return None


def _entry_in(host: Host, data: Any) -> Any:
    servers = data.get(host.servers) if isinstance(data, dict) else None
    return servers.get(SERVER) if isinstance(servers, dict) else None


def _merged(old: Any, new: dict[str, Any]) -> dict[str, Any]:
    """The new entry with what the user added to the old one: other settings, a time limit."""
    if not _has_command(old):
        return new
    env = old.get("env")
    kept = {k: v for k, v in env.items() if k not in _OWN} if isinstance(env, dict) else {}
    merged = old | new | {"env": kept | new.get("env", {})}
    return merged if merged["env"] else {k: v for k, v in merged.items() if k != "env"}


def _has_command(entry: Any) -> bool:
    """Whether it is an entry like ours; one for an address is another server's, or by hand."""
    return isinstance(entry, dict) and isinstance(entry.get("command"), str)


def _added(host: Host, text: str, entry: dict[str, Any]) -> str:
    """The text with the entry, and nothing else changed."""
    new = host.format.put(text, (host.servers, SERVER), entry)
    data = host.format.read(text)
    if _names_input(host, new):
        new = host.format.put(new, ("inputs", _input_place(data)), INPUT)
    return _checked(host, data, new, entry)


def _taken_out(host: Host, text: str, before: Any) -> str:
    """The text without the entry, and without what was made for it: `before` had no such key."""
    data = host.format.read(text)
    new = host.format.remove(text, (host.servers, SERVER))
    keys = [host.servers]
    if host.asks and not _names_input(host, new):
        new = host.format.remove(new, ("inputs", _input_place(data)))
        keys.append("inputs")
    left = host.format.read(new)
    for key in keys:
        if key not in before and left.get(key) in ({}, []):
            new = host.format.remove(new, (key,))
    return _checked(host, data, new, None)


def _names_input(host: Host, text: str) -> bool:
    return host.asks and f"${{input:{INPUT_ID}}}" in text


def _input_place(data: Any) -> int:
    """Where our question stands in the list of inputs, or would be added."""
    inputs = data.get("inputs")
    inputs = inputs if isinstance(inputs, list) else []
    return next((place for place, each in enumerate(inputs) if _is_ours(each)), len(inputs))


def _is_ours(each: Any) -> bool:
    return isinstance(each, dict) and each.get("id") == INPUT_ID


def _checked(host: Host, data: Any, new: str, entry: dict[str, Any] | None) -> str:
    """The new text, if it says of everything else what the old one said."""
    after = host.format.read(new)
    if _entry_in(host, after) != entry or _others(host, after) != _others(host, data):
        raise ValueError(f"{SERVER} stands in it in a form that is not changed here")
    return new


def _others(host: Host, data: Any) -> Any:
    rest = dict(data)
    servers = {name: each for name, each in rest.pop(host.servers, {}).items() if name != SERVER}
    inputs = rest.get("inputs")
    if host.asks and isinstance(inputs, list):
        rest["inputs"] = [each for each in inputs if not _is_ours(each)]
    if not rest.get("inputs"):
        rest.pop("inputs", None)  # none is as good as an empty list
    return rest, servers


@contextlib.contextmanager
def _named(host: Host, path: Path, by_hand: str) -> Iterator[None]:
    """Errors of reading, changing and writing become one that names the file."""
    try:
        yield
    except OSError as error:
        raise SettingsError(
            message=f"{path} can't be used ({error.strerror}), so nothing was changed.",
            hint=f"See to it and do this again, or {by_hand}.",
        ) from None
    except ValueError as error:
        raise SettingsError(
            message=f"{path} is not in order for {host.title} ({error}), so nothing was changed.",
            hint=f"Correct it and do this again, or {by_hand}.",
        ) from None
