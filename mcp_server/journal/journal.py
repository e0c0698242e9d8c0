"""Journal: what was submitted, written down before the bytes of a paid request leave.

Three things keep a job from being lost or paid for twice, whatever dies and whenever:

- every step is committed before the next one is taken;
- a partial unique index allows one live row a key (the idempotency key), and a POST is counted only
  from the count its sender expects: the database refuses what our code gets wrong;
- who is at work on a key is decided by a claim that ends with its process.

No token enters; users' own are kept sealed, apart from it (own_tokens.py). The engine is a Store
(base.py); its statements must be the only thing that a `read` or `write` block awaits.
"""

import base64
import json
import os
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import PurePath
from typing import Any, Literal, ParamSpec, TypeVar

from mcp_server.errors import BudgetError, JournalCutError, JournalError, QueueFullError
from mcp_server.journal.base import Rows, Store
from mcp_server.journal.records import (
    LIVE,
    OPEN,
    Figures,
    NewSubmission,
    Quote,
    Refused,
    Running,
    State,
    Submission,
    Traffic,
    Waiting,
)
from mcp_server.models import OUR_ID_PREFIX, TERMINAL, Status

P = ParamSpec("P")
T = TypeVar("T")

IS_LIVE = "state in ('queued', 'submitting', 'unconfirmed', 'accepted')"  # as in the index
LINKS_KEPT_S = 30 * 86_400.0  # the vendors' links end within hours, their jobs within a month
_PRUNED_AT_ONCE = 100
_MOST_MADE = 50
_TRIES = 4  # of a step whose end a cut connection hid
_QUOTES_KEPT_S = 86_400.0
_PRUNE_EVERY_S = 86_400.0
_LONGEST_JOB_S = 3_600.0  # *assumed*: what began to run before, and has not ended, is forgotten
_LONGEST_DOUBT_S = 600.0  # the same of what may never have begun
_LONGEST_PAUSE_S = 60.0  # after refusals that named no wait
_NO_LIMIT = 1_000_000
_LONGEST_QUEUED_S = 86_400.0  # as USEAPI_QUEUE_SECONDS may be
_SKEW_S = 60.0  # by which the clock of another server may be ahead
_QUEUE_FULL_S = 60
COLUMNS = (
    "id, key, state, origin, service, operation, source_id, arguments, price, posts, sent_at,"
    " first_sent_at, job_id, job, note, evidence, created_at, updated_at, payer, account,"
    " runs_on, queued_until"
)
_IS_UNSENT = "status in ('queued', 'submitting') and posts = 0 and queued_until is not null"

MayStart = Callable[[Traffic], Collection[str]]
"""Says which of those that wait may be sent now, by their ids."""


def _repeatable(
    step: Callable[P, Awaitable[T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """A step that comes to the same when it is taken twice, taken again where a cut hid its end."""

    @wraps(step)
    async def taken(*arguments: P.args, **options: P.kwargs) -> T:
        for _ in range(_TRIES - 1):
            with suppress(JournalCutError):
                return await step(*arguments, **options)
        return await step(*arguments, **options)

    return taken


class Journal:
    """The submissions of every process that shares a store.

    A journal that can't be written says why in `fault`; every write then raises it and nothing paid
    can be sent, while reads answer with nothing. Each call tries anew, so a journal heals as soon
    as the cause is gone.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._prune_at = 0.0

    @property
    def fault(self) -> JournalError | None:
        """Why the journal can't be used, as far as is known."""
        return self._store.fault

    @property
    def is_shared(self) -> bool:
        """Whether servers of several machines may be at work on it."""
        return self._store.is_shared

    async def check(self) -> None:
        """Try whether it can be written; `fault` then tells. Links that ended are dropped."""
        await self.try_writing()
        if self.fault is None:
            await self._prune()

    async def try_writing(self) -> None:
        """Try whether it can be written; `fault` then tells."""
        await self._store.check()

    async def close(self) -> None:
        """Close the store and release every key."""
        await self._store.close()

    async def claim(self, key: str) -> bool:
        """True: nobody alive is at work on this key, and until `release` nobody else will be.

        Raises:
            JournalError: the journal can't be used, so nothing may be sent.
        """
        return await self._store.claim(key)

    async def release(self, key: str) -> None:
        """Let go of a key; one that was refused or never asked for changes nothing."""
        await self._store.release(key)

    async def take_read(self, row: Submission, apart_s: float) -> bool:
        """Whether to read a job at its vendor now: False if another server did so just before."""
        return await self._store.take_turn(f"read {row.id}", apart_s)

    async def find_live(self, key: str) -> Submission | None:
        """The row that stands in the way of submitting `key` again."""
        return _first(await self._read(f"where key = ? and {IS_LIVE}", key))

    async def get(self, any_id: str, *, user: str = "", shared: bool = False) -> Submission | None:
        """The row with this id of ours, or the newest one of this vendor's job.

        Args:
            user: only one that this user asked for.
            shared: or that is of the server's own account.
        """
        asked, whose = _seen_by(user, shared=shared)
        where = f"where (id = ? or job_id = ?){asked} order by number desc limit 1"
        return _first(await self._read(where, any_id, any_id, *whose))

    async def latest(self, row: Submission) -> Submission:
        """A row as it is by now; as it was, where the journal can't be read."""
        return await self.get(row.id) or row

    async def recent(
        self,
        limit: int,
        status: str | None = None,
        *,
        origin: str,
        refused: bool = True,
        user: str = "",
        shared: bool = False,
    ) -> list[Submission]:
        """The newest rows first, all or those of one Job status; a freed row keeps its last one.

        Args:
            refused: whether those are among them that failed before there was a job.
            user: only what this user asked for.
            shared: or what is of the server's own account.
        """
        of_status, values = ("status = ? and ", (status,)) if status else ("", ())
        made = "" if refused else " and (state <> 'failed' or job_id is not null)"
        asked, whose = _seen_by(user, shared=shared)
        where = f"where {of_status}origin in (?, ''){made}{asked} order by number desc limit ?"
        return await self._read(where, *values, origin, *whose, limit)

    async def rows_of(self, some_id: str) -> list[Submission]:
        """Every row that has to do with an id: ours, of the vendor's job, or of its media.

        Where none has this very id, those that differ in upper and lower case alone: a vendor may
        take either.

        Raises:
            JournalError: it can't be read, so nobody knows whose it is.
        """
        if "\0" in some_id:
            return []  # PostgreSQL refuses it
        async with self._store.read() as rows:
            known = await _select(rows, "where id = ? or job_id = ?", some_id, some_id)
            if known:
                return known
            medium = f'"media_id": {json.dumps(some_id)}'.lower()  # as rows are written
            return await _select(
                rows,
                "where lower(id) = ? or lower(job_id) = ? or lower(job) like ? escape '!'"
                " order by number desc limit ?",
                some_id.lower(),
                some_id.lower(),
                f"%{_as_like(medium)}%",
                _MOST_MADE,
            )

    async def users_asking(self, rows: Sequence[Submission]) -> set[str]:
        """The users who asked for one of the rows.

        Raises:
            JournalError: it can't be read.
        """
        query = "select user_id from asked where submission_id = ?"
        async with self._store.read() as found:
            return {str(user) for row in rows for (user,) in await found.all(query, row.id)}

    @_repeatable
    async def add_asked(self, user: str, row_id: str) -> None:
        """Write down that a user asked for what a row submitted, and so may see it."""
        async with self._store.write(f"asked {row_id}") as rows:
            await _add_asked(rows, user, row_id)

    @_repeatable
    async def remove_asked(self, user: str, rows: Sequence[Submission]) -> None:
        """Write down that a user wants nothing more of what the rows submitted."""
        async with self._store.write(*(f"asked {row.id}" for row in rows)) as written:
            for row in rows:
                await written.all(
                    "delete from asked where user_id = ? and submission_id = ?", user, row.id
                )

    async def insert(
        self,
        new: NewSubmission,
        *,
        budget: float | None = None,
        user_budget: float | None = None,
        may_start: MayStart | None = None,
        most_queued: int = 0,
    ) -> Submission:
        """Write down what is about to be submitted, and that its payer asked for it.

        Args:
            budget: the credits this service may be charged in one UTC day.
            user_budget: the same for what one user pays; the operator has none.
            may_start: what it does not name is in the queue afterwards, and not to be sent now.
            most_queued: how many submissions of one payer may wait there.

        Raises:
            BudgetError: this one would exceed it; nothing is written.
            QueueFullError: it would have to wait, and its payer has as many waiting as he may.
            JournalError: the key has a live row already, or the journal can't be written.
        """
        now = self._now()
        if now >= self._prune_at:
            await self._prune()
        row_id = OUR_ID_PREFIX + base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()
        price = new.price or 0.0
        limits = _limits(new.origin, new.service, new.account, budget, new.payer, user_budget)
        state: State = "submitting" if may_start is None else "queued"
        names = [new.key, *(limit.name for limit in limits)]
        if may_start is not None:
            names += _slots_of(new), f"queue {new.payer}"
        async with self._store.write(*names) as rows:
            for limit in limits:
                limit.check(await limit.spent(rows, now), new.price)
            written = await rows.all(
                f"insert into submission({COLUMNS}, status, credits)"
                " values(?, ?, ?, ?, ?, ?, ?, ?, ?, 0, null, null, null, null, null,"
                f" ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (key) where {IS_LIVE} do nothing"
                " returning id",
                row_id,
                new.key,
                state,
                new.origin,
                new.service,
                new.operation,
                new.source,
                json.dumps(new.arguments),
                price,
                json.dumps(new.evidence),
                now,
                now,
                new.payer,
                new.account,
                new.runs_on,
                new.queued_until,
                state,
                price,
            )
            if not written:
                (row,) = await _select(rows, f"where key = ? and {IS_LIVE}", new.key)
                raise _taken(row)
            if new.payer:
                await _add_asked(rows, new.payer, row_id)
            row = await _by_id(rows, row_id)
            if may_start is None:
                return row
            if row_id in may_start(await self._traffic(rows, row.origin, row.service, row.account)):
                return await self._write(rows, replace(row, state="submitting"))
            await _check_queue(rows, row, most_queued)
            return row

    async def begin(self, seen: Submission, may_start: MayStart) -> Submission | None:
        """A row that was in the queue, now to be sent; None: it is not its turn, or not any more.

        Of all servers one decides at a time, so that no more are begun than there are slots.
        """
        async with self._store.write(seen.key, _slots_of(seen)) as rows:
            row = await _by_id(rows, seen.id)
            if row.state != "queued":
                return None
            traffic = await self._traffic(rows, row.origin, row.service, row.account)
            if row.id not in may_start(traffic):
                return None
            return await self._write(rows, replace(row, state="submitting"))

    @_repeatable
    async def put_back(
        self,
        seen: Submission,
        *,
        was_refused: bool = False,
        pause_s: float | None = None,
        is_full: bool = False,
    ) -> Submission:
        """Put a row back into the queue, in its old place; one that was sent stays as it is.

        What another process has taken over is left to it.

        Args:
            was_refused: nothing was made of its POST, if one was counted, which is taken off again.
            pause_s: nothing is sent to its account for so long; None: no such pause.
            is_full: its account has no slot free: for a while no more are sent there than ran just
                now. The pause is longer where it had none free for as many just before.
        """
        async with self._store.write(seen.key, _slots_of(seen)) as rows:
            row = await _by_id(rows, seen.id)
            if row.state != "submitting" or row.posts > was_refused or row.queued_until is None:
                return row
            if not await self._store.owns(rows, row.key):
                return row
            # What was there before it is noted anew when it is sent.
            known = {"before", "horizon", "clock_s"}
            evidence = {name: fact for name, fact in row.evidence.items() if name not in known}
            if row.posts:
                facts = {name: fact for name, fact in row.evidence.items() if name in known}
                evidence.setdefault("refused", {"sent_at": row.first_sent_at, **facts})
            back = replace(
                row, state="queued", posts=0, sent_at=None, first_sent_at=None, evidence=evidence
            )
            row = await self._write(rows, back)
            if pause_s is not None:
                await self._note_refusal(rows, row, pause_s, is_full=is_full)
            return row

    async def _note_refusal(
        self, rows: Rows, row: Submission, pause_s: float, *, is_full: bool
    ) -> None:
        traffic, now = await self._traffic(rows, row.origin, row.service, row.account), self._now()
        before = traffic.refused.get(row.runs_on)
        running = [each for each in traffic.running if row.runs_on in ("", each.runs_on)]
        if not is_full:
            refused = before or Refused(_NO_LIMIT, now, now, 0.0)
            refused = replace(refused, not_before=max(refused.not_before, now + pause_s))
        else:
            wait_s = pause_s
            # With as few it was refused a moment ago, so somebody else has the slots.
            if (
                before is not None
                and len(running) <= before.most
                and now < before.not_before + _LONGEST_PAUSE_S
            ):
                wait_s = max(pause_s, min(2 * before.pause_s, _LONGEST_PAUSE_S))
            refused = Refused(
                max(len(running), 1), now, now + wait_s, min(wait_s, _LONGEST_PAUSE_S)
            )
        await rows.all(
            "insert into slots(origin, service, account, runs_on, most, refused_at, not_before,"
            " pause_s) values(?, ?, ?, ?, ?, ?, ?, ?)"
            " on conflict (origin, service, account, runs_on) do update"
            " set most = excluded.most, refused_at = excluded.refused_at,"
            " not_before = excluded.not_before, pause_s = excluded.pause_s",
            row.origin,
            row.service,
            row.account,
            row.runs_on,
            refused.most,
            refused.at,
            refused.not_before,
            refused.pause_s,
        )

    async def unsent(self, origin: str) -> list[Submission]:
        """What waits to be sent, oldest first, and what was about to be when its server ended."""
        return await self._read(f"where {_IS_UNSENT} and origin = ? order by number", origin)

    async def traffic(self, origin: str, service: str, account: str = "") -> Traffic:
        """What waits and runs at a service with the token of one useapi.net account.

        Raises:
            JournalError: it can't be read.
        """
        async with self._store.read() as rows:
            return await self._traffic(rows, origin, service, account)

    async def _traffic(self, rows: Rows, origin: str, service: str, account: str) -> Traffic:
        now = self._now()
        waiting = await _select(
            rows,
            "where status = 'queued' and origin = ? and service = ? and account = ?"
            " order by number",
            origin,
            service,
            account,
        )
        running = await rows.all(
            "select id, job_id, payer, runs_on from submission"
            " where status in ('submitting', 'running', 'unconfirmed') and origin = ?"
            " and service = ? and account = ? and operation <> 'upload'"
            " and coalesce(first_sent_at, updated_at) > case"
            " when status = 'unconfirmed' then ? else ? end order by number",
            origin,
            service,
            account,
            now - _LONGEST_DOUBT_S,
            now - _LONGEST_JOB_S,
        )
        refused = await rows.all(
            "select runs_on, most, refused_at, not_before, pause_s from slots"
            " where origin = ? and service = ? and account = ?",
            origin,
            service,
            account,
        )
        return Traffic(
            tuple(
                Waiting(
                    row.id,
                    row.payer,
                    row.runs_on,
                    row.queued_until or now,
                    row.evidence.get("most"),
                )
                for row in waiting
            ),
            tuple(Running(*columns) for columns in running),
            {  # one of the future was noted by a clock that has been set since
                runs_on: Refused(most, at, *times)
                for runs_on, most, at, *times in refused
                if at <= now + _SKEW_S
            },
        )

    async def check_budget(
        self,
        origin: str,
        service: str,
        price: float | None,
        budget: float | None,
        *,
        account: str = "",
        payer: str = "",
        user_budget: float | None = None,
    ) -> None:
        """Raise the BudgetError that `insert` would raise now."""
        for limit in _limits(origin, service, account, budget, payer, user_budget):
            spent = 0.0
            with suppress(JournalError):
                async with self._store.read() as rows:
                    spent = await limit.spent(rows, self._now())
            limit.check(spent, price)

    async def figures(self, origin: str, services: Sequence[str]) -> Figures | None:
        """How it stands, with these services; None: it can't be read."""
        now = self._now()
        with suppress(JournalError):
            async with self._store.read() as rows:
                open_rows = await rows.all(
                    "select status, count(*), min(case when status = 'submitting'"
                    " and queued_until is not null then coalesce(first_sent_at, updated_at)"
                    " else created_at end) from submission"
                    # as in OPEN
                    " where status in ('queued', 'submitting', 'running', 'unconfirmed')"
                    " and origin in (?, '') group by status",
                    origin,
                )
                credits_today = {
                    service: await _spent(rows, origin, service, now) for service in services
                }
            counts = {str(status): int(number) for status, number, _ in open_rows}
            waits_s = {str(status): now - since for status, _, since in open_rows}
            return Figures(
                open_jobs={status: counts.get(status, 0) for status in OPEN},
                oldest_submitting_s=max(0.0, waits_s.get("submitting", 0.0)),
                oldest_queued_s=max(0.0, waits_s.get("queued", 0.0)),
                credits_today=credits_today,
            )
        return None

    async def count_post(
        self,
        row: Submission,
        *,
        expected: int,
        is_counted: bool = False,
        was_refused: bool = False,
        status: Status = "submitting",
        budget: float | None = None,
        user_budget: float | None = None,
    ) -> Submission:
        """Count a POST whose bytes leave next.

        A second one counts its price again: the first may have been charged for a job that failed.

        Args:
            expected: the POSTs counted so far, as its sender knows them: 0, or 1 after a search
                that proved absence.
            is_counted: this very POST was counted, refused as too early (429), and goes out again.
            was_refused: it is the one that was refused when it left before, and taken all the same.
            status: the Job status the row has until it is answered.
            budget, user_budget: as of `insert`, for a second POST; the first was checked when the
                row was inserted.

        Raises:
            BudgetError: a second one might exceed it.
            JournalError: this must not be sent: somebody else counted one, took over its key,
                answered, ended or gave up on it in the meantime, or it can't be written down.
        """
        counted = {expected + is_counted}
        limits = _limits(row.origin, row.service, row.account, budget, row.payer, user_budget)
        count = partial(
            self._count_post, row, counted, expected + 1, status, limits, was_refused=was_refused
        )
        for _ in range(_TRIES - 1):
            with suppress(JournalCutError):
                return await count()
            # It may be counted by now. If the claim still stands, nobody else can have done that.
            counted.add(expected + 1)
        return await count()

    async def _count_post(
        self,
        row: Submission,
        counted: set[int],
        posts: int,
        status: Status,
        limits: "Iterable[_Limit]",
        *,
        was_refused: bool,
    ) -> Submission:
        """Make the row's count `posts`, if it is one of `counted` and the claim stands."""
        async with self._store.write(row.key, *(limit.name for limit in limits)) as rows:
            known = await _by_id(rows, row.id)
            if known.state != "submitting":
                raise _not_sent(known, f"is {known.state} by now")
            if known.posts not in counted:
                raise _not_sent(known, "was sent by another process meanwhile")
            if not await self._store.owns(rows, row.key):
                raise _not_sent(known, "was taken over by another process")
            now = self._now()
            if 0 < known.posts < posts:
                for limit in limits:
                    spent = await limit.spent(rows, min(now, known.created_at))
                    limit.check(spent, known.price)
            known = known.as_refused() if was_refused else known
            first = now if known.first_sent_at is None else known.first_sent_at
            sent = replace(known, posts=posts, sent_at=now, first_sent_at=first)
            return await self._write(rows, sent, status)

    @_repeatable
    async def accept(
        self,
        row_id: str,
        job_id: str | None,
        job: dict[str, Any],
        *,
        charged: bool = True,
        is_proven: bool = True,
        runs_on: str = "",
    ) -> Submission:
        """Write down the vendor's answer: the job it made, or that it had made before.

        The first answer stays: a later one that names another job changes nothing. An answer that
        comes after the row was given up brings it back to life, unless the key was submitted again
        meanwhile: then the job is only written down. A job that failed frees the key at once.

        Args:
            charged: whether this submission was charged for it; else the budget counts nothing.
            is_proven: whether it can't be somebody else's. Then it is not that of another key's row
                that took it without proof. Else the key is not freed by its end, for ours may be
                another one, and what another key's row has is not taken.
            runs_on: the account that runs it, as far as that is known; see Submission.
        """
        async with self._store.write() as rows:
            row = await _by_id(rows, row_id)
            if _final(row.job) or (job_id and row.job_id and job_id != row.job_id):
                return row
            holders = await _select(rows, "where job_id = ? and key <> ?", job_id, row.key)
            if holders and not is_proven:
                return row
            for holder in holders:
                if holder.state == "accepted" and holder.evidence.get("unproven"):
                    await self._write(rows, _without_job(holder, "was made by another request"))
            other = await _select(rows, f"where key = ? and id <> ? and {IS_LIVE}", row.key, row_id)
            state: State = "freed" if other else "accepted"
            evidence = {n: value for n, value in row.evidence.items() if n != "unproven"}
            evidence |= {} if charged else {"charged": False}
            evidence |= {} if is_proven else {"unproven": True}
            answered = replace(
                row,
                state=state,
                job_id=job_id or row.job_id,
                note=None,
                evidence=evidence,
                runs_on=row.runs_on or runs_on,
            )
            return await self._write(rows, _following(answered, job))

    @_repeatable
    async def record(self, job_id: str, job: dict[str, Any]) -> None:
        """Let every row of this job follow what the vendor now says about it.

        One that is several of the vendor's goes by our id. The first of completed, failed and
        cancelled stays. Failed and cancelled free the key; where
        it is not proven that the job is the row's, the row is unconfirmed again.
        """
        async with self._store.read() as rows:
            known = await _select(rows, "where job_id = ? or id = ?", job_id, job_id)
        if all(_following(row, job) == row for row in known):
            return  # most polls bring no news, and news alone is worth a commit
        async with self._store.write() as rows:
            for row in await _select(rows, "where job_id = ? or id = ?", job_id, job_id):
                await self._write(rows, _following(row, job))

    @_repeatable
    async def add_evidence(self, row_id: str, **evidence: Any) -> Submission:
        """Write down what helps to tell the row's job from others (see Submission)."""
        async with self._store.write() as rows:
            row = await _by_id(rows, row_id)
            return await self._write(rows, replace(row, evidence=row.evidence | evidence))

    @_repeatable
    async def mark_unconfirmed(self, row_id: str, note: str, **evidence: Any) -> Submission:
        """Nobody knows whether the vendor took it; a row that was answered or ended stays."""
        async with self._store.write() as rows:
            row = await _by_id(rows, row_id)
            if row.state not in ("submitting", "unconfirmed"):
                return row
            evidence = row.evidence | evidence
            marked = replace(row, state="unconfirmed", note=note, evidence=evidence)
            return await self._write(rows, marked)

    @_repeatable
    async def close_row(
        self,
        seen: Submission,
        state: Literal["failed", "cancelled", "freed"],
        note: str,
        job: dict[str, Any] | None = None,
    ) -> Submission:
        """Free the key of a row that is still in the state it was `seen` in.

        One whose state has changed stays as it is; a job that completed can be freed but not fail.
        """
        async with self._store.write() as rows:
            row = await _by_id(rows, seen.id)
            if row.state not in LIVE or row.state != seen.state:
                return row
            if state == "freed":
                freed = replace(row, state=state, note=note)
                return await self._write(rows, _following(freed, job) if job else freed)
            if _final(row.job):
                return row
            known = job or row.job
            ended = {**known, "status": state} if known else None
            return await self._write(rows, replace(row, state=state, note=note, job=ended))

    async def saved_files(self, job_id: str) -> list[dict[str, Any]]:
        """The files saved for a job, by position: their facts, `position` and `path`."""
        with suppress(JournalError):
            async with self._store.read() as rows:
                found = await rows.all(
                    "select position, path, facts from saved where job_id = ? order by position",
                    job_id,
                )
                return [
                    {**json.loads(facts), "position": position, "path": path}
                    for position, path, facts in found
                ]
        return []

    @_repeatable
    async def add_saved_file(
        self, job_id: str, position: int, path: str, facts: dict[str, Any]
    ) -> None:
        """Write down where the job's media number `position` was saved; the last one counts."""
        async with self._store.write() as rows:
            await rows.all(
                "insert into saved(job_id, position, path, facts) values(?, ?, ?, ?)"
                " on conflict (job_id, position) do update"
                " set path = excluded.path, facts = excluded.facts",
                job_id,
                position,
                path,
                json.dumps(facts),
            )

    async def find_made(
        self, *, url: str = "", path: str = "", user: str = "", shared: bool = False
    ) -> list[Submission]:
        """The newest rows of jobs that this link or path may be a result of.

        Args:
            url: what follows a `?` is left out: each read of a job may bring another signature.
            path: of a file with this name: servers may see one folder at different paths.
            user: only what this user asked for.
            shared: or what is of the server's own account.
        """
        name = PurePath(path).name
        place = json.dumps(url.partition("?")[0] or name)
        asked, whose = _seen_by(user, shared=shared)
        return await self._read(
            "where (job like ? escape '!' or job like ? escape '!'"  # noqa: S608 - a constant
            f" or job_id in (select job_id from saved where path in (?, ?))){asked}"
            " order by number desc limit ?",
            f"%{_as_like(place if url else place[1:])}%",
            f"%{_as_like(place[:-1])}?%" if url else "",
            path,
            name,
            *whose,
            _MOST_MADE,
        )

    async def find_quote(self, key: str) -> Quote | None:
        """The price that was asked for last, for the order of this key."""
        with suppress(JournalError):
            async with self._store.read() as rows:
                for found in await rows.all(
                    "select asked_at, told_at, price from quote where key = ?", key
                ):
                    return Quote(*found)
        return None

    async def begin_quote(self, key: str) -> None:
        """Write down that a price is asked for; those asked for a day ago are dropped.

        Raises:
            JournalError: it must not be asked for: another process is at it, or it can't be
                written down.
        """
        now = self._now()
        async with self._store.write(key) as rows:
            if not await self._store.owns(rows, key):
                raise JournalError(
                    message="Another process has taken this order over, so nothing was sent.",
                    hint="Make the same call again: it joins that.",
                )
            await rows.all("delete from quote where asked_at < ?", now - _QUOTES_KEPT_S)
            await rows.all(
                "insert into quote(key, asked_at, told_at, price) values(?, ?, null, null)"
                " on conflict (key) do update"
                " set asked_at = excluded.asked_at, told_at = null, price = null",
                key,
                now,
            )

    @_repeatable
    async def end_quote(self, key: str, price: float | None) -> None:
        """Write down the price that was told; None: the answer held none."""
        async with self._store.write(key) as rows:
            await rows.all(
                "update quote set told_at = ?, price = ? where key = ?", self._now(), price, key
            )

    async def _prune(self) -> None:
        """Drop the links of jobs that ended a month ago, so that old rows stay small.

        At most a hundred in one transaction, once a day or at a start: nobody waits for long.
        """
        self._prune_at = self._now() + _PRUNE_EVERY_S
        old: list[tuple[Any, ...]] = []
        with suppress(JournalError):
            async with self._store.write() as rows:
                old = await rows.all(
                    "select id, status, job_id, job from submission"
                    " where has_links = 1 and updated_at < ? order by updated_at limit ?",
                    self._now() - LINKS_KEPT_S,
                    _PRUNED_AT_ONCE,
                )
                for row_id, status, job_id, job in old:
                    # Without the vendor's id the job's links are all there is of it.
                    is_over = status in TERMINAL and job_id is not None
                    await rows.all(
                        "update submission set job = ?, has_links = 0 where id = ?",
                        _without_links(job) if is_over else job,
                        row_id,
                    )
        if len(old) == _PRUNED_AT_ONCE:
            self._prune_at = 0.0

    async def _read(self, where: str, *values: object) -> list[Submission]:
        with suppress(JournalError):
            async with self._store.read() as rows:
                return await _select(rows, where, *values)
        return []

    async def _write(self, rows: Rows, row: Submission, status: Status | None = None) -> Submission:
        """Write what can change of a row, with the columns that are derived from it.

        `status` is the Job's status word, which rows are listed by. `credits` is what the day's
        budget counts: the vendor's forecast once it is known, the price until then.
        """
        job = row.job or {}
        has_job = row.state in ("accepted", "freed")
        charge = job.get("forecast_credits", row.price if row.posts > 1 else None)
        if charge is not None:
            charge = max(0.0, charge)  # a negative forecast must not raise the budget
            charge *= max(row.posts, 1)
        if row.evidence.get("charged") is False:
            charge = 0.0
        await rows.all(
            "update submission set state = ?, posts = ?, sent_at = ?, first_sent_at = ?,"
            " job_id = ?, job = ?, note = ?, evidence = ?, updated_at = ?, runs_on = ?,"
            " status = coalesce(?, status), credits = coalesce(?, credits), has_links = 1"
            " where id = ?",
            row.state,
            row.posts,
            row.sent_at,
            row.first_sent_at,
            row.job_id,
            json.dumps(row.job) if row.job else None,
            row.note,
            json.dumps(row.evidence),
            self._now(),
            row.runs_on,
            status or (job.get("status") if has_job else row.state),
            charge,
            row.id,
        )
        return await _by_id(rows, row.id)


async def _select(rows: Rows, where: str, *values: object) -> list[Submission]:
    found = await rows.all(f"select {COLUMNS} from submission {where}", *values)  # noqa: S608 - names of ours
    return [
        replace(
            row,
            arguments=json.loads(str(row.arguments)),
            job=json.loads(str(row.job)) if row.job else None,
            evidence=json.loads(str(row.evidence)),
        )
        for row in (Submission(*columns) for columns in found)
    ]


def _without_links(job: Any) -> Any:
    """A job as stored, without the links of its media; what is not understood stays as it is."""
    try:
        known = json.loads(job)
        names = ("url", "thumbnail_url")
        media = [{n: item[n] for n in item if n not in names} for item in known["media"]]
        return json.dumps(known | {"media": media})
    except (ValueError, KeyError, TypeError):
        return job


def _as_like(text: str) -> str:
    """Text that LIKE takes as it is, with `!` before what has a meaning there."""
    return re.sub(r"([!%_])", r"!\1", text)


def _first(rows: list[Submission]) -> Submission | None:
    return rows[0] if rows else None


async def _by_id(rows: Rows, row_id: str) -> Submission:
    row = _first(await _select(rows, "where id = ?", row_id))
    if row is None:
        raise JournalError(
            message=f"The journal knows no submission {row_id}.",
            hint="Call list_jobs for those it knows.",
        )
    return row


def _final(job: dict[str, Any] | None) -> bool:
    return job is not None and job["status"] in TERMINAL


def _following(row: Submission, job: dict[str, Any]) -> Submission:
    """The row after the vendor has said this about its job."""
    if row.job and _final(row.job) and row.job["status"] != job["status"]:
        return row
    ended = row.state in LIVE and job["status"] in ("failed", "cancelled")
    if ended and row.evidence.get("unproven"):
        return _without_job(row, "did not succeed, which may be somebody else's")
    return replace(row, job=job, state=job["status"] if ended else row.state)


def _without_job(row: Submission, what: str) -> Submission:
    """A row that must be looked for again, for its job turned out not to be proven its own."""
    note = f"{row.job_id} {what}"
    return replace(row, state="unconfirmed", job_id=None, job=None, note=note)


def _not_sent(row: Submission, why: str) -> JournalError:
    return JournalError(
        message=f"The submission {row.id} {why}, so it is not sent.",
        hint="Call get_job with its id.",
        service=row.service,
        job_id=row.job_id or row.id,
    )


def _taken(row: Submission) -> JournalError:
    job_id = row.job_id or row.id
    return JournalError(
        message=f"The same request was submitted before, as {job_id}, so it is not sent again.",
        hint="Call get_job with that id.",
        service=row.service,
        job_id=job_id,
    )


def _slots_of(row: NewSubmission | Submission) -> str:
    """Under which transactions that begin or put back something of a service follow another."""
    return " ".join(filter(None, ("slots", row.origin, row.service, row.account)))


async def _check_queue(rows: Rows, row: Submission, most: int) -> None:
    """Raise if the payer of a row in the queue has more waiting than he may."""
    ((number,),) = await rows.all(
        "select count(*) from submission where status = 'queued' and origin = ? and payer = ?",
        row.origin,
        row.payer,
    )
    if number > most:
        raise QueueFullError(
            message=f"{most} of your submissions wait for a free slot already, as many as may at"
            " once; nothing was sent.",
            hint=f"Call again in {_QUEUE_FULL_S} s, when one of them may have begun, or take one"
            " out with cancel_job.",
            service=row.service,
            retry_after_seconds=_QUEUE_FULL_S,
        )


def _seen_by(user: str, *, shared: bool) -> tuple[str, tuple[str, ...]]:
    """The end of a condition that only rows fit which this user may see, and its values."""
    if not user:
        return "", ()
    asked = "id in (select submission_id from asked where user_id = ?)"
    return f" and ({asked} or account = '')" if shared else f" and {asked}", (user,)


async def _add_asked(rows: Rows, user: str, row_id: str) -> None:
    await rows.all(
        "insert into asked(user_id, submission_id) values(?, ?)"
        " on conflict (user_id, submission_id) do nothing",
        user,
        row_id,
    )


@dataclass(frozen=True)
class _Limit:
    """The credits of one account that one service may cost in one UTC day: all, or one user."""

    credits: float
    origin: str
    service: str
    account: str
    payer: str

    @property
    def name(self) -> str:
        """Under which transactions that may spend the same credits follow one another."""
        whose = (self.account, self.payer)
        return " ".join(filter(None, ("budget", self.origin, self.service, *whose)))

    async def spent(self, rows: Rows, now: float) -> float:
        """The credits of its rows since midnight UTC."""
        return await _spent(rows, self.origin, self.service, now, self.account, self.payer)

    def check(self, spent: float, price: float | None) -> None:
        """Refuse what would exceed it; what is documented as free never does."""
        whose = "your daily" if self.payer else "today's"
        if price is None and spent >= self.credits:
            raise self._exceeded(
                f"What this costs is not documented, and of {whose} {self.credits:g} credits for"
                f" {self.service} {spent:g} are spent; nothing was sent."
            )
        if price and spent + price > self.credits:
            raise self._exceeded(
                f"This costs {price:g} credits, and of {whose} {self.credits:g} for {self.service}"
                f" {spent:g} are spent; nothing was sent."
            )

    def _exceeded(self, message: str) -> BudgetError:
        hint = "Raise USEAPI_MAX_CREDITS_PER_DAY, or call again after midnight UTC."
        if self.payer:
            hint = "Call again after midnight UTC, or ask the operator of this server for more."
        return BudgetError(message=message, hint=hint, service=self.service)


def _limits(
    origin: str,
    service: str,
    account: str,
    budget: float | None,
    payer: str,
    user_budget: float | None,
) -> list[_Limit]:
    """The budgets that a request counts for: nobody's credits count for another account's."""
    limits = []
    if budget is not None:
        limits.append(_Limit(budget, origin, service, account, ""))
    if user_budget is not None and payer:
        limits.append(_Limit(user_budget, origin, service, account, payer))
    return limits


async def _spent(
    rows: Rows, origin: str, service: str, now: float, account: str = "", payer: str = ""
) -> float:
    """The credits of a service's rows at this origin since midnight UTC, of all or of one payer.

    Everything that was or may have been charged counts. What certainly was not is a request that
    the vendor refused, and one that ended before its bytes left. What waited past midnight counts
    for the day of its call, and for the one on which it was or may yet be sent.
    """
    midnight = now - now % 86400
    of_payer, whose = (" and payer = ?", (payer,)) if payer else ("", ())
    ((total,),) = await rows.all(
        "select coalesce(sum(credits), 0) from submission"  # noqa: S608 - a constant
        f" where origin in (?, '') and service = ? and account = ? and created_at >= ?{of_payer}"
        " and (created_at >= ? or queued_until is not null and (first_sent_at >= ? or posts = 0"
        " and (state = 'submitting' or state = 'queued' and queued_until > ?)))"
        " and (state in ('queued', 'submitting') or job_id is not null"
        " or (posts > 0 and state <> 'failed'))",
        origin,
        service,
        account,
        midnight - _LONGEST_QUEUED_S,
        *whose,
        midnight,
        midnight,
        now,
    )
    return float(total)
