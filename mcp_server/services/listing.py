"""What the linked accounts made, here or elsewhere: the vendors' lists, read and merged.

A page is taken from all lists at once. Where it ended in each is told in a cursor, which names the
page of the vendor and the rows of it that were shown: whether an offset counts rows is not
documented for every service.
"""

import asyncio
import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mcp_server.errors import RequestError, ServerError, SettingsError, UseapiError
from mcp_server.models import OPERATIONS, FoundMedia, Kind
from mcp_server.services.accounts import Account, by_setting, chosen, fitting, without_secrets
from mcp_server.services.base import Listed, Service
from mcp_server.services.registry import SERVICES, service_named
from mcp_server.upstream.client import Upstream

_OF_IMAGES = tuple(name for name, operation in OPERATIONS.items() if operation.from_prompt)
_EACH_S = 20.0  # for a service among others
_ALONE_S = 45.0  # a large project of Google Flow takes over 20 s; clients wait for 60
_MOST_PAGES = 3  # of a list in one call: pages may hold much that is not finished


@dataclass(frozen=True)
class MadeHere:
    """A job of the journal that made a medium; `image_index` where it made several."""

    job_id: str
    image_index: int | None = None


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Args:
        accounts: by service, the account to ask where `account` is not given.
        only_made_here: what was made elsewhere, or by others, is left out.
    """

    service: str | None = None
    kind: Kind | None = None
    limit: int = 20
    cursor: str | None = None
    account: str | None = None
    accounts: Mapping[str, str] = field(default_factory=dict)
    only_made_here: bool = False


@dataclass(frozen=True)
class Found:
    """A page: what was found, where the next one begins, and what the caller should mind."""

    media: tuple[FoundMedia, ...]
    cursor: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """A place in a list: after so many rows of the page at this offset."""

    offset: str = ""
    after: int = 0


@dataclass(frozen=True)
class _List:
    """One list of one account, and the place from which on it is read."""

    service: Service
    account: Account
    number: int
    begin: _Place = _Place()

    @property
    def kinds(self) -> frozenset[Kind]:
        return self.service.media_lists[self.number]

    @property
    def key(self) -> str:
        """Its name in a cursor, without the e-mail address."""
        login = hashlib.sha256(self.account.login.encode()).hexdigest()[:12]
        return f"{self.service.name} {login} {self.number}"


@dataclass(frozen=True)
class _Rows:
    """What was read of a list: each row with the place after it; `end` is None where it ended."""

    list: _List
    rows: tuple[tuple[FoundMedia, _Place | None], ...]
    end: _Place | None
    fault: UseapiError | None = None


@dataclass(frozen=True)
class _Part:
    """What a service gave; `unread` is where its lists go on that could not even be asked."""

    service: Service
    linked: tuple[Account, ...]
    lists: tuple[_Rows, ...]
    notes: tuple[str, ...] = ()
    fault: UseapiError | None = None
    unread: Mapping[str, _Place] = field(default_factory=dict)


@dataclass(frozen=True)
class _Cursor:
    """What an earlier page ended with: what was asked for, and where each list goes on."""

    service: str | None
    kind: Kind | None
    places: Mapping[str, _Place]


async def find_media(
    upstream: Upstream,
    query: Query,
    made: Mapping[str, MadeHere],
    fits: Callable[[Sequence[FoundMedia]], bool],
) -> Found:
    """A page of what was made on the linked accounts.

    Args:
        made: what the journal knows, by every id that a vendor may have for it.
        fits: whether so much can be told in one answer; the rest is for the next page.

    Raises:
        RequestError: the cursor is another's or broken, or no or several accounts are meant.
        UseapiError: nothing could be read.
    """
    upstream.require_token()
    cursor = _Cursor(query.service, query.kind, {})
    if query.cursor is not None:
        cursor = _read(query.cursor, query)
    parts = await asyncio.gather(
        *(_of_service(each, upstream, query, cursor, made) for each in _services(cursor))
    )
    failures = [part.fault for part in parts if part.fault is not None]
    lists = [each for part in parts for each in part.lists]
    failures += [each.fault for each in lists if each.fault is not None]
    if failures and all(each.fault is not None for each in lists):
        raise failures[0]
    notes = [note for part in parts for note in part.notes]
    linked = [account for part in parts for account in part.linked]
    if not linked:
        titles = ", ".join(part.service.vendor.title for part in parts)
        notes.append(f"No account is linked to {titles}; link one on useapi.net.")
    elif query.account is not None and not lists:
        chosen("any service", linked, query.account)
    if query.only_made_here:
        notes.append("Only what you asked for here is listed: others use these accounts, too.")
    media, places = _merged(lists, query.limit, fits)
    places |= {key: place for part in parts for key, place in part.unread.items()}
    notes += [
        part.service.has_no_sources
        for part in parts
        if part.service.has_no_sources
        and any(item.service == part.service.name and item.source is None for item in media)
    ]
    if all(item.created_at for item in media):
        media.sort(key=lambda item: str(item.created_at), reverse=True)
    further = _written(cursor.service, cursor.kind, places) if places else None
    return Found(tuple(media), further, tuple(notes))


def _services(cursor: _Cursor) -> tuple[Service, ...]:
    """The services to ask: the one that is named, or those that an earlier page did not end."""
    if cursor.service is not None:
        return (service_named(cursor.service),)
    named = {key.split(" ")[0] for key in cursor.places}
    return tuple(service for service in SERVICES if not named or service.name in named)


async def _of_service(
    service: Service,
    upstream: Upstream,
    query: Query,
    cursor: _Cursor,
    made: Mapping[str, MadeHere],
) -> _Part:
    """What was read of a service's lists, and what to mind of what was not."""
    title, is_alone = service.vendor.title, cursor.service is not None
    within_s = _ALONE_S if is_alone else _EACH_S
    ends_at = asyncio.get_running_loop().time() + within_s
    linked: tuple[Account, ...] = ()
    try:
        async with asyncio.timeout_at(ends_at):
            linked = await service.accounts(upstream)
        accounts = _asked(service, linked, query, is_alone=is_alone)
    except (UseapiError, TimeoutError) as error:
        fault = error if isinstance(error, UseapiError) else _too_late(service, within_s)
        unread = {k: at for k, at in cursor.places.items() if k.startswith(f"{service.name} ")}
        return _Part(service, linked, (), (_left_out(title, fault),), fault, unread)
    lists = [
        _List(service, account, number)
        for account in accounts
        for number, kinds in enumerate(service.media_lists)
        if cursor.kind is None or cursor.kind in kinds
    ]
    if query.cursor is not None:
        lists = [
            _List(service, each.account, each.number, cursor.places[each.key])
            for each in lists
            if each.key in cursor.places
        ]

    async def read(each: _List) -> _Rows:
        fault: UseapiError
        try:
            return await _of_list(each, upstream, cursor.kind, query, made, ends_at)
        except UseapiError as error:
            fault = error
        except TimeoutError:
            fault = _too_late(service, within_s)
        return _Rows(each, (), each.begin, fault)

    found = tuple(await asyncio.gather(*map(read, lists)))
    notes = [
        _left_out(f"{title} {each.list.account.name}", each.fault) for each in found if each.fault
    ]
    return _Part(service, linked, found, tuple(dict.fromkeys(notes)))


def _asked(
    service: Service, linked: tuple[Account, ...], query: Query, *, is_alone: bool
) -> tuple[Account, ...]:
    """The accounts to ask.

    Raises:
        RequestError, SettingsError: none or several are meant by the name of one.
    """
    title = service.vendor.title
    if query.account is not None:
        if not is_alone and not fitting(linked, query.account):
            return ()  # it may be one of another service
        return (chosen(title, linked, query.account),)
    wanted = query.accounts.get(service.name)
    if wanted is None:
        return linked
    return (by_setting(title, linked, wanted),)


async def _of_list(
    each: _List,
    upstream: Upstream,
    kind: Kind | None,
    query: Query,
    made: Mapping[str, MadeHere],
    ends_at: float,
) -> _Rows:
    """The next rows of one list: enough for a page, as far as a few of the vendor's hold them.

    Raises:
        UseapiError, TimeoutError: not even one page can be read.
    """
    rows: list[tuple[FoundMedia, _Place | None]] = []
    place: _Place | None = each.begin
    for _ in range(_MOST_PAGES):
        if place is None or len(rows) >= query.limit:
            break
        try:
            async with asyncio.timeout_at(ends_at):
                page = await each.service.media(upstream, each.account, each.kinds, place.offset)
        except (UseapiError, TimeoutError):
            if not rows:
                raise
            break  # what was read is shown, and the next call goes on from here
        # A page that leads back to itself would never end.
        goes_on = page.next is not None and page.next != place.offset
        end = _Place(str(page.next)) if goes_on else None
        for position, row in enumerate(page.rows):
            media = row.media
            is_meant = media is not None and kind in (None, media.kind)
            if query.only_made_here and made.keys().isdisjoint(row.ids):
                is_meant = False
            if media is not None and is_meant and position >= place.after:
                is_last = position + 1 == len(page.rows)
                after = end if is_last else _Place(place.offset, position + 1)
                rows.append((_recognised(each.service, row, media, made), after))
        place = end
    return _Rows(each, tuple(rows), place)


def _recognised(
    service: Service, row: Listed, media: FoundMedia, made: Mapping[str, MadeHere]
) -> FoundMedia:
    """A medium with its source, whether it was made here, and what can be done with it."""
    here = next((made[some_id] for some_id in row.ids if some_id in made), None)
    source, index = media.source, media.image_index
    if here is not None and source is None:
        source, index = here.job_id, here.image_index
    can: tuple[str, ...] = ()
    if source is not None:
        can = () if row.is_end else service.takers(source, index)
        # Any image can be a frame or go before a generation, of whatever service and however made.
        can += _OF_IMAGES if media.kind == "image" and index is None else ()
        can += ("download_media",) if service.is_job(source) else ()
    return media.model_copy(
        update={
            "source": source,
            "image_index": index,
            "made_here": here is not None,
            "can": can,
        }
    )


def _merged(
    lists: Sequence[_Rows], limit: int, fits: Callable[[Sequence[FoundMedia]], bool]
) -> tuple[list[FoundMedia], dict[str, _Place]]:
    """The first rows of all lists, and the place where each list goes on.

    Of each list the rows are taken in its own order, so that a cursor can tell where it ended: the
    newest of their next ones, or where a time is not known, that of the list with the fewest yet.
    """
    media: list[FoundMedia] = []
    taken = {each.list.key: 0 for each in lists}
    while len(media) < limit:
        heads = [
            (each.list.key, each.rows[taken[each.list.key]][0])
            for each in lists
            if taken[each.list.key] < len(each.rows)
        ]
        if not heads:
            break
        if all(item.created_at for _, item in heads):
            key, item = max(heads, key=lambda head: str(head[1].created_at))
        else:
            key, item = min(heads, key=lambda head: taken[head[0]])
        if media and not fits([*media, item]):
            break
        media.append(item)
        taken[key] += 1
    places: dict[str, _Place] = {}
    for each in lists:
        count = taken[each.list.key]
        place = each.rows[count - 1][1] if count else each.list.begin
        if count == len(each.rows):
            place = each.end
        if place is not None:
            places[each.list.key] = place
    return media, places


def _too_late(service: Service, within_s: float) -> ServerError:
    return ServerError(
        message=f"{service.vendor.title} did not answer within {within_s:g} s.",
        hint=f"Call again with service={service.name}: alone it is waited for longer.",
        service=service.name,
    )


def _left_out(what: str, fault: UseapiError) -> str:
    said = fault.message
    if isinstance(fault, RequestError | SettingsError):  # only the caller can put these right
        said = f"{said} {fault.hint}"
    return f"{what} is left out: {without_secrets(said)}"


def _written(service: str | None, kind: Kind | None, places: Mapping[str, _Place]) -> str:
    """A cursor: where each list goes on, with a checksum."""
    at = {key: [place.offset, place.after] for key, place in places.items()}
    data = json.dumps([service, kind, at], separators=(",", ":")).encode()
    whole = zlib.crc32(data).to_bytes(4, "big") + data
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _read(text: str, query: Query) -> _Cursor:
    """What a cursor says.

    Raises:
        RequestError: it is none of ours, or one of another question.
    """
    cursor = _unpacked(text)
    for name, given, meant in (
        ("service", query.service, cursor.service),
        ("kind", query.kind, cursor.kind),
    ):
        if given is not None and given != meant:
            raise RequestError(
                message=f"This cursor goes on with {name}={meant or 'all'}, so nothing was done.",
                hint=f"Leave {name} out, or call without the cursor to begin anew.",
            )
    return cursor


def _unpacked(text: str) -> _Cursor:
    text = text.strip(" \t\r\n\"'`")
    try:
        whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if zlib.crc32(whole[4:]).to_bytes(4, "big") == whole[:4]:
            service, kind, at = json.loads(whole[4:])
            return _Cursor(service, kind, {key: _Place(*place) for key, place in at.items()})
    except (ValueError, TypeError, AttributeError):
        pass
    raise RequestError(
        message="This cursor is none that list_media gave, so nothing was done.",
        hint="Copy it whole from the answer before, or call without it to begin anew.",
    )
