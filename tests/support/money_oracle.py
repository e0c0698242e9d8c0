"""Judges money by what truly happened: each wish by its own key, no loss excused by another's.

A *wish* is what a key stands for: one operation on one source with the arguments that shape the
result, at one address of the vendor. What is known of it: the paid requests that left for it
(`Post`), what the vendor truly made of each, and the journal's rows.

What is excused, and why:

- a repeat that costs nothing (Google Flow below 4K, its images): there may be two requests a row;
- a job that the vendor itself denied (its own 4xx, its own 404 or 410 of the job), that failed,
  was cancelled, is no longer kept, or that the user gave up: the next one is asked for anew;
- a stranger's job that cannot be told from ours may be taken for it: same source, same arguments,
  made after our request had left. The result is the same; ours is then not known by its id. It
  never excuses two accepted of ours;
- so it may for a request that was counted and never left, because its process died between;
- one made before, where nothing could be read before our request left and our clock was set since:
  then nothing tells how old it is.
"""

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import Life
from tests.support.vendor_faults import JOB_S, Free, Post
from tests.support.wishes import Wish

DAY_S = 86_400.0
QUOTE_S = 600.0  # for which a price that was told is kept
_KEPT_S = {"google-flow": 7 * DAY_S, "dreamina": 30 * DAY_S, "pixverse": math.inf}
_LOOKED_THROUGH = 200  # of PixVerse's list: five pages of 40
_SKEW_S = 3.0  # the vendor's `Date` has whole seconds


class JournalReader:
    """The rows as they are on disk, whatever any server thinks."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.sqlite"

    def rows(self, where: str = "1", *values: object) -> list[dict[str, Any]]:
        if not self._path.exists():  # nothing was written down yet
            return []
        with closing(sqlite3.connect(self._path)) as database:
            database.row_factory = sqlite3.Row
            found = database.execute(f"select * from submission where {where}", values)
            return [dict(row) for row in found]

    def edit(self, *statements: str) -> None:
        if not self._path.exists():
            return
        with closing(sqlite3.connect(self._path)) as database, database:
            for statement in statements:
                database.execute(statement)


@dataclass(frozen=True)
class Facts:
    """All that is known of one run."""

    wishes: Iterable[Wish]
    posts: list[Post]
    rows: list[dict[str, Any]]
    cancelled_at: Mapping[str, float]
    disowned_at: Mapping[str, float]
    given_up_at: Mapping[str, float]  # by the row's id
    clock_was_set: bool

    def over_at(self, post: Post, wish: Wish) -> float:
        """From when on the job of a request no longer speaks against another one."""
        if post.is_denied:
            return -math.inf
        job_id = post.job_id or ""
        ends = [
            post.accepted_at + JOB_S if post.fault.fails else math.inf,
            self.cancelled_at.get(job_id, math.inf),
            self.disowned_at.get(job_id, math.inf),
            self.given_up_at.get(post.row_id or "", math.inf),
            post.accepted_at + _KEPT_S[wish.service],
        ]
        row = self.row_of(post)
        if row is not None and row["job_id"] is None and row["state"] in ("accepted", "freed"):
            # Its result came at once and without an id: it is reused for a day, by our clock.
            ends.append(-math.inf if self.clock_was_set else post.accepted_at + DAY_S)
        return min(ends)

    def row_of(self, post: Post) -> dict[str, Any] | None:
        return next((row for row in self.rows if row["id"] == post.row_id), None)

    # What must hold

    def faults(self) -> list[str]:
        """All that is wrong with the money by now."""
        return [*self._too_often(), *self._twice()]

    def _too_often(self) -> list[str]:
        """A row is sent once; twice where the vendor refuses a repeat or it is free."""
        found = [
            f"a paid request without a row: {post.body}"
            for post in self.posts
            if post.is_ours and post.row_id is None
        ]
        sent = Counter(
            post.row_id
            for post in self.posts
            if post.is_ours and post.row_id and not post.was_too_early
        )
        wish_of = {post.row_id: post.wish for post in self.posts if post.row_id in sent}
        for row_id, times in sent.items():
            wish = wish_of[row_id]
            if wish is None:
                found.append(f"sent what nobody asked for: {row_id}")
            elif times > 1 + wish.may_be_sent_twice:
                found.append(f"{row_id} was sent {times} times: {wish}")
        return found

    def waits_though_made(self) -> list[str]:
        """Rows in the queue of which the vendor has made something."""
        made = {post.row_id: post for post in self.posts if post.accepted and not post.is_denied}
        return [
            f"waits, and was made: {row} by {_told(made[row['id']])}"
            for row in self.rows
            if row["state"] == "queued" and row["id"] in made
        ]

    def _twice(self) -> list[str]:
        found = []
        by_wish: dict[tuple[str, Wish], list[Post]] = {}
        for post in self.posts:
            wish = post.wish
            if post.is_ours and post.accepted is not None and wish is not None:
                by_wish.setdefault((post.origin, wish), []).append(post)
        for (_, wish), made in by_wish.items():
            if wish.is_free:
                continue
            for number, later in enumerate(made):
                found += [
                    f"paid for twice: {wish} by {_told(earlier)} {_told(later)}"
                    f" rows {self.row_of(earlier)} {self.row_of(later)}"
                    for earlier in made[:number]
                    if self.over_at(earlier, wish) > later.left_at
                ]
        return found

    def lost(self) -> list[str]:
        """What the vendor made for us and no row of its wish knows."""
        found = []
        for post in self.posts:
            wish = post.wish
            if not post.is_ours or post.accepted is None or wish is None or not wish.has_jobs:
                continue
            why = self._known(post, wish)
            if why is None:
                found.append(f"lost: {wish} by {_told(post)}, row {self.row_of(post)}")
            else:
                KNOWN[why] += 1
        return found

    def _known(self, post: Post, wish: Wish) -> str | None:
        """How a job of ours is known; None: it is lost."""
        row = self.row_of(post)
        siblings = [other for other in self.rows if wish.is_row(other)]
        if post.job_id in {some_id for other in siblings for some_id in _ids(other)}:
            return "by its id"
        if row is None:
            return None
        if row["state"] == "unconfirmed":
            return "unconfirmed"
        if row["id"] in self.given_up_at:
            return "given up by the user"
        if post.is_denied:
            return "denied by the vendor"
        if row["job_id"] is None and row["state"] in ("accepted", "freed"):
            return "by its result, which came without an id"
        is_over = post.fault.fails or post.job_id in self.cancelled_at
        if is_over and (row["job_id"] is not None or row["state"] == "failed"):
            return "failed, and its row went on"
        if (why := self._taken_for_it(post, row)) is not None:
            return why
        # Google Flow keeps what it has upscaled, and makes a job of a stranger's repeat, too.
        is_kept = (wish.service, wish.tool) == ("google-flow", "upscale_video")
        is_repeat = wish.is_free or (is_kept and self.maker_of(row["job_id"]) is None)
        return "a free repeat" if is_repeat and row["job_id"] is not None else None

    def maker_of(self, job_id: str | None) -> Post | None:
        return next((post for post in self.posts if job_id and post.job_id == job_id), None)

    def _taken_for_it(self, post: Post, row: dict[str, Any]) -> str | None:
        """Why a stranger's job may have been taken for this one; None: it was not, or wrongly."""
        maker = self.maker_of(row["job_id"])
        if maker is None or maker.is_ours:
            return None
        if maker.accepted_at >= post.left_at - _SKEW_S:
            return "a stranger's twin was taken for it"
        return "a stranger's was, and nothing told its age" if self._is_undated(row) else None

    def _is_undated(self, row: dict[str, Any]) -> bool:
        """Whether nothing tells what was made before a row's request left."""
        dates_it = json.loads(row["evidence"]).keys() & {"before", "clock_s"}
        return self.clock_was_set and not dates_it

    def bound_wrongly(self) -> list[str]:
        """Rows that hold a job which is another order's, or an older one told as ours."""
        found = []
        for row in self.rows:
            maker = self.maker_of(row["job_id"])
            wish = next((wish for wish in self.wishes if wish.is_row(row)), None)
            if maker is None or wish is None:
                continue
            is_anothers = maker.is_ours and maker.wish not in (wish, None)  # another variation's
            body = maker.body if maker.is_ours else wish.as_listed(maker.body)
            if is_anothers or not wish.is_of(maker.path, body):
                found.append(f"took another order's job: {row} has {_told(maker)}")
            ours = [post for post in self.posts if post.row_id == row["id"]]
            if self._is_undated(row):
                continue
            is_older = row["posts"] == 0 or (
                bool(ours) and maker.accepted_at < ours[0].left_at - _SKEW_S
            )
            if is_older and not maker.is_ours and not wish.may_be_sent_twice:
                found.append(f"took an older job for its own: {row} has {_told(maker)}")
        return found

    def overspent(self, limit: float) -> list[str]:
        """Days of which more was charged than the limit, by the rows' own dates."""
        spent: Counter[tuple[str, str, int]] = Counter()
        about: dict[tuple[str, str, int], list[str]] = {}
        for post in self.posts:
            wish, row = post.wish, self.row_of(post)
            if post.is_ours and post.accepted and wish and row and not post.is_denied:
                day = int(row["created_at"] // DAY_S)
                what = (post.origin, wish.service, day)
                spent[what] += int(wish.cost)
                if wish.cost:
                    about.setdefault(what, []).append(f"{_told(post)} {row}")
        return [
            f"overspent: {what} {sum_} of {limit}: {about[what]}"
            for what, sum_ in spent.items()
            if sum_ > limit
        ]

    def unconfirmed(self) -> tuple[Counter[str], list[str]]:
        """Why each row that is unconfirmed at the end honestly is; and those without a reason."""
        reasons: Counter[str] = Counter()
        found = []
        for row in self.rows:
            if row["state"] != "unconfirmed":
                continue
            wish = next((wish for wish in self.wishes if wish.is_row(row)), None)
            why = self._why_unconfirmed(row, wish)
            if why is None:
                found.append(f"unconfirmed without a reason: {row}")
            else:
                reasons[why] += 1
        return reasons, found

    def _why_unconfirmed(self, row: dict[str, Any], wish: Wish | None) -> str | None:
        if wish is None:
            return "of another version"
        evidence = json.loads(row["evidence"])
        if "named" in evidence:
            return "the vendor named a job that can't be read"
        ours = [post for post in self.posts if post.row_id == row["id"]]
        made = [post for post in ours if post.accepted is not None]
        if not made:
            if not wish.may_be_sent_twice:
                return "not taken; a repeat would be charged"
            return "not taken; no look proved it in time" if len(ours) < 2 else "not taken twice"
        if any(post.fault.fails or post.job_id in self.cancelled_at for post in made):
            return "taken and failed, which may be somebody else's"
        if wish.kept_as:
            return "taken; of an own file no list tells what was made of it"
        if wish.service == "pixverse" and not self.clock_was_set:
            is_far_down = all(self._newer_beside(post) >= _LOOKED_THROUGH for post in made)
            return "taken; more newer ones than are looked through" if is_far_down else None
        return "taken; ended before it was seen, and no longer listed"

    def _newer_beside(self, post: Post) -> int:
        """How many jobs stand before this one in the vendor's list."""
        own_list = (post.job_id or "").rpartition(":")[0]
        return sum(
            other.origin == post.origin
            and other.accepted_at > post.accepted_at
            and (other.job_id or "").rpartition(":")[0] == own_list
            for other in self.posts
        )


def _ids(row: dict[str, Any]) -> list[str | None]:
    """The vendor's job of a row, or those that are one of ours."""
    media = json.loads(row["job"] or "{}").get("media") or ()
    return [row["job_id"], *(item.get("media_id") for item in media)]


KNOWN = Counter[str]()  # how the jobs of ours were known at the end, over all runs


def _told(post: Post) -> str:
    who = "ours" if post.is_ours else "a stranger"
    answer = post.answer.status_code if post.answer is not None else "nothing"
    return (
        f"[{who} {post.row_id} left {post.left_at:.2f} made {post.accepted_at:.2f} {post.job_id}"
        f" answered {answer} {post.fault}]"
    )


def asked_twice(free: list[Free], lives: set[Life]) -> list[str]:
    """Uploads and questions for a price that left though the answer was there already.

    Args:
        lives: the processes that are still there; what others were told may have gone with them.
    """
    found = []
    for number, later in enumerate(free):
        for earlier in free[:number]:
            if later.about != earlier.about or earlier.told_at is None:
                continue
            is_kept = earlier.is_upload or later.left_at < earlier.told_at + QUOTE_S
            if earlier.life in lives and earlier.told_at < later.left_at and is_kept:
                found.append(f"asked twice: {later.about} at {earlier.left_at} {later.left_at}")
    return found
