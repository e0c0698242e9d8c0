"""Checking: each fault has its sentence and a hint, and nothing secret is ever told."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from mcp_server.errors import UnexpectedAnswerError
from mcp_server.services.accounts import linked, masked, without_secrets
from mcp_server.upstream.responses import ServiceInfo
from tests.support.harness import ORIGIN, Fault, Harness, Network, Reply, running

ACCOUNT = "/v2/account"
DREAMINA, FLOW, PIXVERSE = (
    "/v1/dreamina/accounts",
    "/v1/google-flow/accounts",
    "/v2/pixverse/accounts",
)
ACTIVE = {"subscriptionIsActive": True}
HEALTHY = {
    ACCOUNT: ACTIVE,
    DREAMINA: {"CA:joanna@example.com": {"region": "CA"}},
    FLOW: {"joanna@example.com": {"health": "OK"}},
    PIXVERSE: {"joanna@example.com": {"maxJobs": 3}},
}
PAGE = HTMLResponse("<html><h1>Log in to the hotel's network</h1></html>")

App = Callable[[Any, Any, Any], Awaitable[None]]


def vendor(**changes: object) -> App:
    """A vendor for whom all is well but what is named: account, dreamina, flow, pixverse.

    Each is an answer: a Response, or JSON with status 200.
    """
    paths = {"account": ACCOUNT, "dreamina": DREAMINA, "flow": FLOW, "pixverse": PIXVERSE}
    answers: dict[str, object] = HEALTHY | {paths[name]: told for name, told in changes.items()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told = answers[Request(scope).url.path]
        answer = told if isinstance(told, Response) else JSONResponse(told)
        await answer(scope, receive, send)

    return app


def refusal(status: int, body: object = None) -> Response:
    return JSONResponse(body or {"error": "Unauthorized"}, status_code=status)


async def checked(folder: Path, app: App, sandbox: str = "") -> Reply:
    async with running(folder, vendor=app, USEAPI_SANDBOX=sandbox) as server:
        return await checked_by(server)


async def checked_by(server: Harness) -> Reply:
    """What the tool answers; a fault is data, never an error."""
    reply = await server.call("check_accounts")
    assert not reply.is_error, reply.text
    return reply


def service(reply: Reply, name: str) -> dict[str, Any]:
    return next(dict(each) for each in reply.job["services"] if each["service"] == name)


async def test_when_all_is_well_it_says_so_in_data_and_in_words(tmp_path: Path) -> None:
    reply = await checked(tmp_path, vendor())

    assert {
        "ok": True,
        "base_url": ORIGIN,
        "token": "accepted",
        "subscription": "active",
        "services": [
            {
                "service": "dreamina",
                "state": "ready",
                "accounts": [{"name": "CA:jo***@ex***.com", "healthy": True}],
            },
            {
                "service": "google-flow",
                "state": "ready",
                "accounts": [{"name": "jo***@ex***.com", "healthy": True}],
            },
            {
                "service": "pixverse",
                "state": "ready",
                "accounts": [{"name": "jo***@ex***.com", "healthy": True}],
            },
        ],
    } == reply.record
    assert reply.text.splitlines() == [
        "Ready to work. Token accepted, subscription active.",
        "dreamina: CA:jo***@ex***.com healthy",
        "google-flow: jo***@ex***.com healthy",
        "pixverse: jo***@ex***.com healthy",
    ]


async def test_it_reads_four_lists_and_nothing_that_costs_or_claims(tmp_path: Path) -> None:
    """GET dreamina/accounts/{account} would claim the day's free credits."""
    async with running(tmp_path) as server:
        await checked_by(server)

        assert [("GET", path) for path in (ACCOUNT, DREAMINA, FLOW, PIXVERSE)] == (
            server.sandbox.requests[:1] + sorted(server.sandbox.requests[1:])
        )


async def test_without_a_token_nothing_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN="") as server:
        reply = await checked_by(server)

        assert [] == server.network.sent
        assert {
            "ok": False,
            "base_url": ORIGIN,
            "token": "missing",
            "subscription": "unknown",
            "problem": "No useapi.net token is set, so nothing was sent.",
            "hint": "Set USEAPI_TOKEN in the server's environment and restart it; "
            "to try it without a token, start the server with --sandbox.",
            "services": [],
        } == reply.record
        assert "No useapi.net token is set" in reply.text


async def test_a_token_that_is_not_accepted_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path, vendor=vendor(account=refusal(401))) as server:
        reply = await checked_by(server)

        assert "refused" == reply.job["token"]
        assert "useapi.net does not accept the token." == reply.job["problem"]
        assert "USEAPI_TOKEN" in reply.job["hint"]
        assert 1 == len(server.network.sent)


@pytest.mark.parametrize(
    ("account", "says"),
    [
        (PAGE, "The account endpoint answered with status 200 and without usable JSON."),
        (
            HTMLResponse("<html>Origin is unreachable</html>", 523),
            "The account endpoint: it failed (status 523 with a gateway's page instead of",
        ),
        (refusal(503, {"error": "down"}), "The account endpoint: it failed (status 503)."),
        ({"welcome": True}, "The account endpoint answered without a usable subscription."),
        ([], "The account endpoint answered without a usable subscription."),
        (JSONResponse(None), "The account endpoint answered with status 200 and without usable"),
    ],
)
async def test_a_vendor_that_talks_nonsense_is_told_so(
    tmp_path: Path, account: object, says: str
) -> None:
    reply = await checked(tmp_path, vendor(account=account))

    assert ("unknown", "unknown") == (reply.job["token"], reply.job["subscription"])
    assert reply.job["problem"].startswith(says)
    assert "Try again in a minute; if it stays so, check USEAPI_BASE_URL." == reply.job["hint"]
    assert not reply.job["ok"]


async def test_a_vendor_that_is_down_is_told_so(tmp_path: Path) -> None:
    network = Network(vendor())
    network.faults, network.concerns = [Fault(connects=False)] * 9, lambda _: True
    async with running(tmp_path, network=network) as server:
        reply = await checked_by(server)

    assert "could not be reached" in reply.job["problem"]
    assert "Check the network" in reply.job["hint"]
    assert "unknown" == reply.job["token"]


async def test_a_vendor_that_never_answers_keeps_nobody_waiting(tmp_path: Path) -> None:
    network = Network(vendor())
    network.faults, network.concerns = [Fault(after_s=10_000)] * 99, lambda _: True
    async with running(tmp_path, network=network) as server:
        began = server.clock.elapsed()
        reply = await checked_by(server)

        assert "No answer came within 20 s." == reply.job["problem"]
        assert server.clock.elapsed() - began <= 21


async def test_services_that_never_answer_are_waited_for_side_by_side(tmp_path: Path) -> None:
    network = Network(vendor())
    network.concerns = lambda request: request.url.path != ACCOUNT
    network.faults = [Fault(after_s=10_000)] * 99
    async with running(tmp_path, network=network) as server:
        began = server.clock.elapsed()
        reply = await checked_by(server)

        assert ["unknown"] * 3 == [each["state"] for each in reply.job["services"]]
        assert server.clock.elapsed() - began <= 21


@pytest.mark.parametrize(
    "account",
    [
        {"subscriptionIsActive": False},
        refusal(402, {"error": "Account has no subscription or subscription expired"}),
    ],
)
async def test_a_subscription_that_has_ended_is_told_so(tmp_path: Path, account: object) -> None:
    reply = await checked(tmp_path, vendor(account=account))

    assert ("accepted", "inactive") == (reply.job["token"], reply.job["subscription"])
    assert "The useapi.net subscription is not active." == reply.job["problem"]
    assert "Renew it on useapi.net; nothing works until then." == reply.job["hint"]
    assert not reply.job["ok"]
    assert "ready" == service(reply, "dreamina")["state"]


async def test_no_account_linked_anywhere_is_a_fault(tmp_path: Path) -> None:
    reply = await checked(tmp_path, vendor(dreamina={}, flow={}, pixverse={}))

    assert "No account is linked to any service, so no job can run." == reply.job["problem"]
    assert not reply.job["ok"]


async def test_a_service_without_an_account_is_told_and_no_fault(tmp_path: Path) -> None:
    reply = await checked(tmp_path, vendor(pixverse={}))

    assert reply.job["ok"]
    assert {
        "service": "pixverse",
        "state": "not_linked",
        "accounts": [],
        "problem": "No PixVerse account is linked.",
        "hint": "To use PixVerse, link an account of it on useapi.net.",
    } == service(reply, "pixverse")


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("dreamina", {"dreamina": {"a@b.co": {"error": "Session expired"}}}, "Session expired"),
        (
            "dreamina",
            {"dreamina": {"a@b.co": {"error": {"message": "Session expired"}}}},
            "Session expired",
        ),
        ("dreamina", {"dreamina": {"a@b.co": {"error": 7}}}, "useapi.net gives no reason."),
        (
            "google-flow",
            {"flow": {"a@b.co": {"health": "refresh token rejected"}}},
            "refresh token rejected",
        ),
        (
            "google-flow",
            {"flow": {"a@b.co": {"health": "OK", "error": "signed out"}}},
            "signed out",
        ),
        ("google-flow", {"flow": {"a@b.co": {}}}, "It does not tell its health."),
        (
            "pixverse",
            {"pixverse": {"a@b.co": {"error": "Your PixVerse account has pending error."}}},
            "Your PixVerse account has pending error.",
        ),
    ],
)
async def test_an_account_in_error_is_told_with_its_reason(
    tmp_path: Path, name: str, changes: dict[str, object], problem: str
) -> None:
    """GET dreamina/accounts (23 February 2026): `error?`; google-flow/accounts (2026): `health`."""
    reply = await checked(tmp_path, vendor(**changes))

    found = service(reply, name)
    assert "in_error" == found["state"]
    assert [{"name": "***@***.co", "healthy": False, "problem": problem}] == found["accounts"]
    assert found["problem"].endswith(": 1 of 1 linked accounts in error.")
    assert "connect the account again on useapi.net" in found["hint"]
    assert not reply.job["ok"]
    assert problem in reply.text


async def test_an_account_in_error_stands_before_the_healthy_ones(tmp_path: Path) -> None:
    accounts = {"US:anna@mail.org": {}, "CA:otto@mail.org": {"error": "Session expired"}}

    found = service(await checked(tmp_path, vendor(dreamina=accounts)), "dreamina")

    assert ["CA:ot***@ma***.org", "US:an***@ma***.org"] == [a["name"] for a in found["accounts"]]
    assert "Dreamina: 1 of 2 linked accounts in error." == found["problem"]


@pytest.mark.parametrize(
    "answer", [PAGE, [], {"a@b.co": "no record"}, refusal(500), refusal(403), refusal(404)]
)
async def test_one_service_that_fails_hides_nothing_of_the_others(
    tmp_path: Path, answer: object
) -> None:
    reply = await checked(tmp_path, vendor(flow=answer))

    assert ["ready", "unknown", "ready"] == [each["state"] for each in reply.job["services"]]
    assert service(reply, "google-flow")["problem"].endswith((".", "”."))
    assert service(reply, "google-flow")["hint"]
    assert not reply.job["ok"]


SECRETS = {
    "cookie": "__Secure-1PSID=g.a000CANARY-cookie-7",
    "password": "CANARYpassword7",
    "token": "ya29.CANARY-a0AfB_token77",
    "e-mail": "canary.person@canary-host.example",
    "useapi token": "user:777-CANARYtoken",
    "session": "eyJhbGciOiJIUzI1NiJ9.CANARY7.sig",
}
LEAKY = (
    f"Login failed: cookie {SECRETS['cookie']} password={SECRETS['password']} "
    f"access_token: {SECRETS['token']} of {SECRETS['e-mail']} by {SECRETS['useapi token']} "
    f'"session":"{SECRETS["session"]}" Authorization: Bearer {SECRETS["token"]}'
)
RECORD = {
    "email": SECRETS["e-mail"],
    "password": SECRETS["password"],
    "accountCookies": [{"name": "SID", "value": SECRETS["cookie"]}],
    "sessionData": {"access_token": SECRETS["token"], "user": {"email": SECRETS["e-mail"]}},
    "jwt": {"token": SECRETS["session"]},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"flow": {SECRETS["e-mail"]: {**RECORD, "health": "OK"}}},
        {"flow": {SECRETS["e-mail"]: {**RECORD, "health": LEAKY}}},
        {"dreamina": {f"CA:{SECRETS['e-mail']}": {**RECORD, "error": LEAKY}}},
        {"dreamina": {LEAKY: {**RECORD, "error": {"message": LEAKY, "status": LEAKY}}}},
        {"pixverse": {SECRETS["e-mail"]: RECORD, SECRETS["cookie"]: RECORD}},
        {"account": {"subscriptionIsActive": False, **RECORD, "error": LEAKY}},
        {"account": refusal(401, {"error": LEAKY})},
        {"account": refusal(418, {"error": LEAKY})},
        {"flow": refusal(403, {"error": LEAKY})},
        {"pixverse": refusal(596, {"error": LEAKY})},
        {"account": HTMLResponse(LEAKY)},
        {"dreamina": HTMLResponse(LEAKY, 502)},
    ],
)
async def test_nothing_secret_is_told(tmp_path: Path, changes: dict[str, object]) -> None:
    reply = await checked(tmp_path, vendor(**changes))

    told = reply.text + json.dumps(reply.job)
    assert "canary" not in told.lower()


def test_what_is_no_secret_is_left_in_an_error() -> None:
    pending = (
        "Your PixVerse account has pending error. Please address this issue at "
        "https://useapi.net/docs/api-pixverse-v2/post-pixverse-accounts-email first."
    )

    assert pending == without_secrets(pending)
    assert "refresh token rejected" == without_secrets("refresh token rejected")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("joanna@example.com", "jo***@ex***.com"),
        ("CA:joanna@example.com", "CA:jo***@ex***.com"),
        ("US:j.o+tag@mail.example.co.uk", "US:j***@ma***.uk"),
        ("jo@x.io", "j***@***.io"),
        ("j@gmail.com", "***@gm***.com"),
        ("no e-mail", "***"),
        ("CA:", "***"),
        ("@", "***"),
        ("", "***"),
        ("\x1b[31mred@example.com", "***@ex***.com"),
        ("a@b@example.com", "***"),
    ],
)
def test_a_name_is_masked(name: str, told: str) -> None:
    assert told == masked(name)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_any_answer_is_read_as_accounts_or_refused_as_strange(data: Any) -> None:
    try:
        accounts = linked(ServiceInfo("x", "X"), data, lambda record: record.get("error"))
    except UnexpectedAnswerError:
        assert not isinstance(data, dict) or any(not isinstance(v, dict) for v in data.values())
    else:
        assert len(accounts) == len(data)


async def test_many_accounts_are_told_in_part(tmp_path: Path) -> None:
    accounts = {f"user{number}@example.com": {"health": "OK"} for number in range(80)}

    reply = await checked(tmp_path, vendor(flow=accounts))

    assert 50 == len(service(reply, "google-flow")["accounts"])
    assert len(reply.text) < 8000


async def test_in_the_sandbox_it_says_that_it_is_the_sandbox(tmp_path: Path) -> None:
    assert "sandbox" in (await checked(tmp_path, vendor(), sandbox="true")).text


async def test_a_wait_that_the_vendor_asks_for_is_kept(tmp_path: Path) -> None:
    network = Network(vendor())
    network.concerns = lambda request: request.url.path == ACCOUNT
    network.faults = [Fault(then=httpx.Response(429, headers={"retry-after": "3"}, json={}))]
    async with running(tmp_path, network=network) as server:
        assert (await checked_by(server)).job["ok"]


async def with_credits(folder: Path, user: int = 1, **asked: Any) -> Reply:
    async with running(folder, USEAPI_TOKEN=f"user:{user}-token") as server:
        return await server.call("check_accounts", credits=True, **asked)


async def test_with_credits_it_tells_what_each_account_has_in_data_and_in_words(
    tmp_path: Path,
) -> None:
    reply = await with_credits(tmp_path)

    told = {name: service(reply, name)["accounts"] for name in ("dreamina", "pixverse")}
    told["google-flow"] = service(reply, "google-flow")["accounts"]
    assert all(account["credits"] > 0 for accounts in told.values() for account in accounts)
    assert ("Premium", 8) == (told["pixverse"][0]["plan"], told["pixverse"][0]["free_slots"])
    assert "PAYGATE_TIER_TWO" == told["google-flow"][0]["plan"]
    assert "omni-flash" in told["google-flow"][0]["models"]
    assert "seedance-2.0" in told["dreamina"][0]["models"]
    assert "us***@ex***.com healthy, 15,000 credits, plan Premium, 8 free slots" in reply.text
    assert "models: veo-3.1-fast, " in reply.text


async def test_that_the_days_free_credits_were_claimed_is_told_where_they_were(
    tmp_path: Path,
) -> None:
    both = await with_credits(tmp_path / "all")
    other = await with_credits(tmp_path / "one", service="Google Flow")

    claimed = "Reading Dreamina's credits also claimed the free ones of the day."
    assert claimed in both.text
    assert claimed in both.job["note"]
    assert claimed not in other.text


async def test_cookies_and_tokens_of_an_account_are_not_told_with_its_credits(
    tmp_path: Path,
) -> None:
    reply = await with_credits(tmp_path)

    told = reply.text + json.dumps(reply.job)
    assert "sandbox-" not in told
    assert "billing" not in told
    assert "user@" not in told


async def test_only_the_service_that_is_named_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("check_accounts", service="PIXVERSE")

        assert ["pixverse"] == [each["service"] for each in reply.job["services"]]
        assert [ACCOUNT, PIXVERSE] == [path for _, path in server.sandbox.requests]


async def test_a_service_that_is_named_and_has_no_account_is_a_fault(tmp_path: Path) -> None:
    async with running(tmp_path, vendor=vendor(pixverse={})) as server:
        reply = await server.call("check_accounts", service="pixverse")

    assert "No account is linked to PixVerse, so no job can run." == reply.job["problem"]
    assert "Link an account of PixVerse on useapi.net." == reply.job["hint"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            Fault(then=httpx.Response(500, json={"error": "down"})),
            "PixVerse: it failed (status 500)",
        ),
        (Fault(after_s=100), "No answer came within 20 s."),
    ],
)
async def test_credits_that_can_not_be_read_hide_no_account(
    tmp_path: Path, fault: Fault, says: str
) -> None:
    async with running(tmp_path) as server:
        server.network.concerns = lambda request: "features" in request.url.path
        server.network.faults = [fault] * 9
        reply = await server.call("check_accounts", credits=True)

    (account,) = service(reply, "pixverse")["accounts"]
    assert {"name": "us***@ex***.com", "healthy": True} == account
    assert f"The credits of us***@ex***.com could not be read: {says}" in reply.job["note"]
    assert reply.job["ok"]


async def test_an_account_in_error_has_no_credits_to_tell(tmp_path: Path) -> None:
    """Both are left out of its record where it is in error."""
    reply = await with_credits(tmp_path, user=596)

    (account,) = service(reply, "google-flow")["accounts"]
    assert "credits" not in account
    assert "The credits of us***@ex***.com are not told." in reply.job["note"]


@pytest.mark.parametrize("odd", [[], {"credits": "many", "models": 7}, {"available": ["x", {}]}])
async def test_a_balance_of_an_unknown_form_is_left_out(tmp_path: Path, odd: object) -> None:
    async with running(tmp_path) as server:
        server.network.concerns = lambda request: (
            not request.url.path.endswith("/accounts") and (request.url.path != ACCOUNT)
        )
        server.network.faults = [Fault(then=httpx.Response(200, json=odd)) for _ in range(9)]
        reply = await server.call("check_accounts", credits=True)

    assert not any("credits" in a for each in reply.job["services"] for a in each["accounts"])


async def test_whether_credits_are_wanted_is_yes_or_no(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        refused = await server.call("check_accounts", credits="perhaps")
        taken = await server.call("check_accounts", credits="true", service="pixverse")

    assert "credits must be true or false, so nothing was done." in refused.text
    assert 15_000 == service(taken, "pixverse")["accounts"][0]["credits"]
