"""The tables of the journal in PostgreSQL, and `useapi-mcp migrate`, which makes and changes them.

Servers of two versions share a database while they are replaced one after the other. So a server
never changes the layout; the newer version's `migrate` is run first. A layout says since which
layout's code can work with it (`readable_since`): servers that old go on, older ones refuse.
"""

from dataclasses import dataclass

import psycopg

from mcp_server.errors import JournalError
from mcp_server.journal.postgres_connections import FAULTS, Link, connect, explain


@dataclass(frozen=True)
class Migration:
    """The statements that make one layout of the one before.

    Args:
        readable_since: the oldest layout whose code can work with this one. A column that can be
            left out, a table or an index leaves it as it was; anything else raises it to this one.
    """

    statements: tuple[str, ...]
    readable_since: int


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        (
            # The columns are those of SQLite's (sqlite.py), which says what they hold.
            """create table submission(
                number bigint generated always as identity primary key,
                id text not null unique, key text not null, state text not null,
                status text not null, service text not null, operation text not null,
                source_id text not null, arguments text not null,
                price double precision not null, credits double precision not null,
                posts integer not null, sent_at double precision, first_sent_at double precision,
                job_id text, job text, note text, created_at double precision not null,
                updated_at double precision not null, origin text not null default '',
                evidence text not null default '{}', has_links integer not null default 1)""",
            """create unique index one_live_row on submission(key)
                where state in ('submitting', 'unconfirmed', 'accepted')""",
            "create index by_job on submission(job_id)",
            "create index by_day on submission(service, created_at)",
            "create index by_status on submission(status, number)",
            "create index by_age on submission(updated_at) where has_links = 1",
            """create table saved(
                job_id text not null, position integer not null, path text not null,
                facts text not null, primary key(job_id, position))""",
            """create table quote(
                key text primary key, asked_at double precision not null,
                told_at double precision, price double precision)""",
            # A server, and until when it counts as alive, by the database's clock.
            "create table member(owner text primary key, alive_until double precision not null)",
            # Who is at work on a key. Each claim has a token of its own: one that was taken over
            # and got back is another claim.
            """create table claim(
                key text primary key, owner text not null, token text not null,
                taken_at double precision not null)""",
            "create index by_owner on claim(owner)",
        ),
        readable_since=1,
    ),
    Migration(
        (  # Many users. A server of layout 1 knows the operator alone, and goes on with that.
            """create table users(
                id text primary key, name text not null unique,
                token_sha256 text not null unique, may_submit integer not null,
                created_at double precision not null)""",
            "alter table submission add column payer text not null default ''",
            """create table asked(
                user_id text not null, submission_id text not null,
                primary key(user_id, submission_id))""",
            "create index by_submission on asked(submission_id)",
        ),
        readable_since=1,
    ),
    Migration(
        (  # The queue. A server of before knows no queued row: what it would insert in its place
            # the index refuses. So all servers are replaced before USEAPI_QUEUE_SECONDS is set.
            "drop index one_live_row",
            """create unique index one_live_row on submission(key)
                where state in ('queued', 'submitting', 'unconfirmed', 'accepted')""",
            "alter table submission add column runs_on text not null default ''",
            "alter table submission add column queued_until double precision",
            """create table slots(
                origin text not null, service text not null, account text not null,
                runs_on text not null, most integer not null, refused_at double precision not null,
                not_before double precision not null, pause_s double precision not null,
                primary key(origin, service, account, runs_on))""",
            # When a server last did what one does for all; that may be lost.
            """create unlogged table turn(
                name text primary key, taken_at double precision not null)""",
        ),
        readable_since=1,
    ),
    Migration(
        (  # Users' own tokens. They are given only to servers that USEAPI_OWN_TOKENS says so to.
            "alter table submission add column account text not null default ''",
            """create table own_token(
                user_id text primary key, account text not null, sealed text not null,
                key_id text not null, version integer not null,
                changed_at double precision not null)""",
            "create index by_account on own_token(account)",
        ),
        readable_since=1,
    ),
)
"""The layout's history, oldest first. Only append."""

NEWEST = len(MIGRATIONS)
LAYOUT = "select version, readable_since from layout"
_ONE_AT_A_TIME = 7_285_640_251_914_083_329  # an advisory lock; any number that nobody else uses


def require_known(version: int | None, readable_since: int) -> None:
    """Raise if this code can't work with a database of this layout; None is an empty one."""
    if version is None or version < NEWEST:
        what = "has no tables yet" if version is None else f"has layout {version}"
        raise JournalError(
            message=f"The database of submissions {what}; this useapi-mcp needs layout {NEWEST}.",
            hint="Run `useapi-mcp migrate` with the same USEAPI_DATABASE_URL.",
        )
    if readable_since > NEWEST:
        raise JournalError(
            message=f"The database of submissions has layout {version}, of a newer useapi-mcp; this"
            f" one knows {NEWEST}.",
            hint="Upgrade useapi-mcp.",
        )


async def require_layout(link: Link) -> None:
    """Raise if this code can't work with the database of a connection."""
    try:
        found = await link.run(LAYOUT)
    except psycopg.errors.UndefinedTable:
        found = []
    version, readable_since = found[0] if found else (None, 0)
    require_known(version, readable_since)


async def migrate(
    dsn: str, migrations: tuple[Migration, ...] = MIGRATIONS
) -> tuple[int | None, int]:
    """Bring a database to the newest layout: the version it had, None if it was empty, and has.

    Several at once are safe: they wait for each other, and each change is made once or not at all.

    Raises:
        JournalError: it can't be done, and nothing was changed.
    """
    try:
        link = await connect(dsn, _accept)
    except FAULTS as error:
        raise explain(error) from error
    try:
        await link.run(f"begin; select pg_advisory_xact_lock({_ONE_AT_A_TIME})")
        found = await _version(link)
        for migration in migrations[found or 0 :]:
            for statement in migration.statements:
                await link.run(statement)
        newest = len(migrations)
        if found is None or found < newest:
            await link.run(
                "update layout set version = %s, readable_since = %s",
                (newest, migrations[-1].readable_since),
            )
        await link.commit()
        return found, max(newest, found or 0)
    except psycopg.errors.DuplicateTable as error:
        raise JournalError(
            message=f"The database holds tables of something else ({error.diag.message_primary}).",
            hint="Give useapi-mcp a database, or a schema, of its own.",
        ) from None
    except FAULTS as error:
        raise explain(error) from error
    finally:
        await link.close()


async def _version(link: Link) -> int | None:
    """The layout of a database; None, and a table to keep it in, if it was empty."""
    ((exists,),) = await link.run("select to_regclass('layout') is not null")
    if exists:
        rows = await link.run("select version from layout for update")
        return int(rows[0][0]) if rows else None
    await link.run("create table layout(version integer not null, readable_since integer not null)")
    await link.run("insert into layout(version, readable_since) values(0, 0)")
    return None


async def _accept(_: Link) -> None:
    """Any layout will do: it is about to be changed."""
