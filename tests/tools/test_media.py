"""Finding what was made before: every service in one list, page by page, with what can be done."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.sandbox.account import NO_ACCOUNTS, SEVERAL_ACCOUNTS
from tests.services.scripted import Says, Scripted
from tests.support.harness import GOOD, Fault, Harness, Network, Reply, running

DREAMINA_VIDEO = GOOD["dreamina", "video"]
DREAMINA_IMAGE = GOOD["dreamina", "image"]
PIXVERSE = GOOD["pixverse", "video"]
SEVERAL = f"user:{SEVERAL_ACCOUNTS}-token"
FLOW = "user:1-email:61"
SHAPE = {
    *("source", "image_index", "service", "kind", "created_at", "prompt", "model", "width"),
    *("height", "duration_ms", "url", "thumbnail_url", "made_here", "can"),
}


def media(reply: Reply) -> list[dict[str, Any]]:
    return list(reply.job["media"])


async def all_pages(server: Harness, **asked: Any) -> list[dict[str, Any]]:
    """Every row there is, page by page."""
    reply = await server.call("list_media", **asked)
    rows = media(reply)
    while cursor := reply.job.get("cursor"):
        reply = await server.call("list_media", cursor=cursor)
        rows += media(reply)
    return rows


def paths(server: Harness) -> list[str]:
    return [request.url.path for request in server.network.sent]


def slow(network: Network, part: str, **fault: Any) -> None:
    """Let what concerns this part of a path go wrong from now on."""
    network.concerns = lambda request: part in request.url.path
    network.faults = [Fault(**fault) for _ in range(99)]


async def test_what_was_made_on_all_services_is_one_list_newest_first(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("list_media")

    rows = media(reply)
    times = [row["created_at"] for row in rows]
    assert 20 == len(rows)
    assert sorted(times, reverse=True) == times
    assert all(row.keys() <= SHAPE for row in rows)
    assert all(row["kind"] in ("video", "image") for row in rows)


async def test_every_source_is_taken_by_the_tools_that_its_row_names(tmp_path: Path) -> None:
    """What the sandbox refuses by design is refused by the vendor, not for its kind."""
    async with running(tmp_path, job_seconds=0) as server:
        for source in (DREAMINA_VIDEO, DREAMINA_IMAGE):
            tool = "upscale_image" if source == DREAMINA_IMAGE else "upscale_video"
            made = await server.call(tool, source=source)
            await server.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        rows = await all_pages(server, limit=50)
        good = set(GOOD.values())
        tried = 0
        services: set[str] = set()
        for row in rows:
            for tool in row["can"]:
                source = row["source"]
                if tool.startswith("generate_") and source not in good:
                    continue  # any image is taken alike
                await asyncio.sleep(10)  # else the accounts would be full
                given = {"job_id": source} if tool == "download_media" else {"source": source}
                if tool == "interpolate_video":
                    given["fps"] = 60
                if tool.startswith("generate_"):
                    name = "start_image" if tool == "generate_video" else "reference_image"
                    given = {"prompt": "A cat", "service": row["service"], name: source}
                    if row["service"] == "dreamina":  # it has two, and the image is uploaded
                        given["account"] = "US:"
                reply = await server.call(tool, **given)
                refusal = reply.error["code"] if reply.is_error else ""
                assert refusal not in ("unsupported", "unknown_id", "invalid_argument", "not_ready")
                assert not (refusal and source in good and tool != "download_media")
                tried, services = tried + 1, services | {row["service"]}

        assert {"dreamina", "google-flow", "pixverse"} == services
        assert tried > 40


async def test_an_upscale_made_here_is_recognised_in_dreaminas_list_which_names_no_job(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        before = await server.call("list_media", service="dreamina", kind="video")
        made = await server.call("upscale_video", source=DREAMINA_VIDEO)
        job_id = made.job["job_id"]
        done = await server.call("get_job", job_id=job_id, wait_seconds=50)
        after = await server.call("list_media", service="dreamina", kind="video")

    assert not any(row["made_here"] or "source" in row or row["can"] for row in media(before))
    assert "Dreamina's list names no jobs" in before.job["note"]
    newest, *others = media(after)
    assert (job_id, True) == (newest["source"], newest["made_here"])
    assert ["interpolate_video", "download_media"] == newest["can"]
    assert not any(row["made_here"] for row in others)
    assert "asset" not in json.dumps(done.job["media"])  # the vendor's own names are not told


async def test_of_a_job_of_several_images_the_row_says_which_one_it_is(tmp_path: Path) -> None:
    """Else an upscale of the second would be paid for and be one of the first."""

    def with_another(_: httpx.Request, answer: httpx.Response) -> httpx.Response:
        record = json.loads(answer.content)
        images = record["response"]["images"]
        images.insert(0, images[0] | {"assetId": "another", "itemId": "another"})
        return httpx.Response(200, json=record)

    async with running(tmp_path) as server:
        made = await server.call("upscale_image", source=DREAMINA_IMAGE)
        job_id = made.job["job_id"]
        slow(server.network, f"/images/{job_id}", then=with_another)
        await server.call("get_job", job_id=job_id, wait_seconds=50)
        (row,) = (
            row
            for row in media(await server.call("list_media", service="dreamina", kind="image"))
            if row["made_here"]
        )

    assert (job_id, 1) == (row["source"], row["image_index"])


async def test_what_was_made_here_on_the_other_services_is_marked(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = await server.call("upscale_video", source=PIXVERSE)
        running_still = await all_pages(server, service="pixverse")
        await server.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        flow = await server.call("upscale_video", source=GOOD["google-flow", "video"])
        await server.call("get_job", job_id=flow.job["job_id"], wait_seconds=50)
        rows = [row for row in await all_pages(server) if row["made_here"]]

    assert made.job["job_id"] not in [row["source"] for row in running_still]
    assert {"pixverse": ["download_media"], "google-flow": []} == {
        row["service"]: row["can"] for row in rows
    }


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_the_pages_hold_every_row_once(tmp_path: Path, limit: int) -> None:
    async with running(tmp_path) as server:
        rows = await all_pages(server, limit=limit)
        whole = await all_pages(server, limit=20)

    told = [json.dumps(row, sort_keys=True) for row in rows if "source" in row]
    assert len(told) == len(set(told))
    assert len(whole) == len(rows)
    assert {row["service"] for row in rows} == {"dreamina", "google-flow", "pixverse"}


async def test_a_list_of_several_pages_of_the_vendor_is_read_to_its_end(tmp_path: Path) -> None:
    def record(number: int) -> dict[str, Any]:
        return {
            "image_id": f"user:1-pixverse:a@b.co-image:{number}",
            "image_status": 1 if number % 2 else 9,
            "image_url": "https://media.pixverse.ai/x.webp",
            "output_width": 8,
            "output_height": 8,
        }

    images = "GET /v2/pixverse/images?email=a%40b.co"
    vendor = Scripted(
        {
            "GET /v2/pixverse/accounts": {"a@b.co": {}},
            images: {"data": [record(n) for n in range(10)], "next_offset": 77},
            f"{images}&offset=77": {"data": [record(n) for n in range(10, 20)], "next_offset": 78},
            f"{images}&offset=78": {"data": [record(21)], "next_offset": 78},
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        rows = await all_pages(server, service="pixverse", kind="image", limit=4)

    assert [str(n) for n in (*range(1, 20, 2), 21)] == [r["source"].split(":")[-1] for r in rows]


async def test_a_later_page_that_fails_costs_no_row(tmp_path: Path) -> None:
    images = "GET /v2/pixverse/images?email=a%40b.co"
    row = {
        "image_id": "user:1-pixverse:a@b.co-image:1",
        "image_status": 1,
        "image_url": "https://media.pixverse.ai/x.webp",
        "output_width": 8,
    }
    vendor = Scripted(
        {
            "GET /v2/pixverse/accounts": {"a@b.co": {}},
            images: {"data": [row], "next_offset": 1},
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("list_media", service="pixverse", kind="image")
        again = await server.call("list_media", cursor=reply.job["cursor"])

    assert [row["image_id"]] == [each["source"] for each in media(reply)]
    assert "not_found" == again.error["code"]


async def test_a_cursor_of_another_question_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        page = await server.call("list_media", service="google-flow", kind="video", limit=2)
        cursor = page.job["cursor"]
        sent = len(server.network.sent)
        for asked, says in (
            ({"cursor": cursor, "service": "dreamina"}, "goes on with service=google-flow"),
            ({"cursor": cursor, "kind": "image"}, "goes on with kind=video"),
            ({"cursor": cursor[:-2]}, "none that list_media gave"),
            ({"cursor": "nonsense"}, "none that list_media gave"),
            ({"cursor": "ünïcode"}, "none that list_media gave"),
            ({"cursor": cursor[:9] + "A" + cursor[10:]}, "none that list_media gave"),
        ):
            refused = await server.call("list_media", **asked)
            assert says in refused.text
            assert "invalid_argument" == refused.error["code"]

        assert sent == len(server.network.sent)
        again = await server.call("list_media", cursor=f'"{cursor}"', service="Google Flow")
        assert {"video"} == {row["kind"] for row in media(again)}
        assert not {row["source"] for row in media(page)} & {row["source"] for row in media(again)}


async def test_no_cursor_holds_an_e_mail_address(tmp_path: Path) -> None:
    import base64

    async with running(tmp_path) as server:
        cursor = (await server.call("list_media", limit=2)).job["cursor"]

    assert b"@" not in base64.urlsafe_b64decode(cursor + "===")[4:]


@pytest.mark.parametrize("failing", ["/accounts", "/assets/media"])
async def test_a_service_that_is_slow_is_left_out_after_20_s_and_comes_on_the_next_page(
    tmp_path: Path, failing: str
) -> None:
    async with running(tmp_path) as server:
        slow(server.network, f"/google-flow{failing}", after_s=30)
        began = server.clock.elapsed()
        reply = await server.call("list_media", limit=3)
        took_s = server.clock.elapsed() - began
        server.network.faults.clear()
        later = await all_pages(server, cursor=reply.job["cursor"])
        alone = server.clock.elapsed()
        slow(server.network, f"/google-flow{failing}", after_s=30)
        patient = await server.call("list_media", service="flow")

    assert 19 < took_s < 21
    assert "Google Flow" in reply.job["note"]
    assert "is left out: Google Flow did not answer within 20 s." in reply.job["note"]
    assert reply.job["note"] in reply.text
    assert 3 == len(media(reply))
    assert (failing == "/assets/media") == any(row["service"] == "google-flow" for row in later)
    assert {"google-flow"} == {row["service"] for row in media(patient)}
    assert 29 < server.clock.elapsed() - alone < 45


async def test_a_service_that_fails_on_a_later_page_is_asked_again_on_the_next(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as server:
        first = await server.call("list_media", limit=1)
        slow(server.network, "/google-flow/accounts", then=httpx.Response(500, json={"error": "x"}))
        second = await server.call("list_media", cursor=first.job["cursor"])
        server.network.faults.clear()
        rest = await all_pages(server, cursor=second.job["cursor"])

    assert "Google Flow is left out: " in second.job["note"]
    assert any(row["service"] == "google-flow" for row in rest)


async def test_where_nothing_can_be_read_the_call_fails(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        slow(server.network, "/assets/media", then=httpx.Response(500, json={"error": "down"}))
        alone = await server.call("list_media", service="google-flow")
        slow(server.network, "/accounts", after_s=1000)
        late = await server.call("list_media")

    assert ("server_error", "google-flow") == (alone.error["code"], alone.error["service"])
    assert "did not answer within 20 s. Call again with service=dreamina" in late.text


async def test_where_no_account_is_linked_it_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN=f"user:{NO_ACCOUNTS}-token") as server:
        reply = await server.call("list_media")
        named = await server.call("list_media", service="pixverse", account="jo")

    assert [] == media(reply)
    assert "No account is linked to Dreamina, Google Flow, PixVerse" in reply.job["note"]
    assert "Link one of PixVerse on useapi.net first." in named.text


async def test_without_a_token_nothing_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN="") as server:
        assert "wrong_token" == (await server.call("list_media")).error["code"]
        assert [] == server.network.sent


async def test_all_accounts_are_asked_and_merged_unless_one_is_meant(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_TOKEN=SEVERAL) as server:
        await server.call("list_media", service="pixverse", kind="video")
        both = [r.url.params["email"] for r in server.network.sent if "/videos" in r.url.path]
        masked = (await server.call("check_accounts")).job["services"][2]["accounts"][1]["name"]
        asked = []
        for wanted in (both[1], masked, both[1][:6], f"mailto:{both[1].upper()}"):
            await server.call("list_media", service="pixverse", kind="video", account=wanted)
            asked.append(server.network.sent[-1].url.params["email"])

    assert 2 == len(set(both))
    assert [both[1]] * 4 == asked


async def test_an_account_that_none_or_several_have_is_refused_with_masked_names(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, USEAPI_TOKEN=SEVERAL) as server:
        several = await server.call("list_media", service="dreamina", account="example")
        none = await server.call("list_media", service="dreamina", account="anna@canary.org")
        anywhere = await server.call("list_media", account="anna@canary.org")
        no_list = [path for path in paths(server) if not path.endswith("/accounts")]

    assert "invalid_argument" == several.error["code"]
    assert "This name fits 3 accounts of Dreamina, so none was asked." in several.text
    assert "No linked account of Dreamina has this name" in none.text
    assert "No linked account of any service has this name" in anywhere.text
    for refused in (several, none, anywhere):
        assert "CA:us***@ex***.com" in refused.text
        assert not re.search(r"[a-z]@[a-z]", refused.text)
    assert [] == no_list


async def test_without_a_service_an_account_is_looked_for_on_all(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        reply = await server.call("list_media", account="US:user@example.com")
        several = await server.call("list_media", account="user@example.com")

    assert {"dreamina"} == {row["service"] for row in media(reply)}
    assert {"google-flow", "pixverse"} >= {row["service"] for row in media(several)}
    assert "Dreamina is left out: This name fits 2 accounts of Dreamina" in several.job["note"]
    assert "CA:us***@ex***.com, US:us***@ex***.com" in several.job["note"]


async def test_the_account_of_the_settings_is_asked_where_none_is_given(tmp_path: Path) -> None:
    accounts = "dreamina=US:user@example.com"
    async with running(tmp_path, USEAPI_ACCOUNTS=accounts) as server:
        await server.call("list_media", service="dreamina")
        asked = paths(server)[-1]

    assert "/v1/dreamina/assets/US:user@example.com" == asked


async def test_an_account_of_the_settings_that_is_not_linked_is_a_wrong_setting(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, USEAPI_ACCOUNTS="pixverse=anna@example.org") as server:
        refused = await server.call("list_media", service="pixverse")
        others = await server.call("list_media")

    assert "wrong_setting" == refused.error["code"]
    assert "USEAPI_ACCOUNTS names no one account that is linked to PixVerse." in refused.text
    assert "PixVerse is left out: USEAPI_ACCOUNTS" in others.job["note"]
    assert 20 == len(media(others))


async def test_the_text_holds_every_row_and_the_next_call_but_no_link(tmp_path: Path) -> None:
    async with running(tmp_path, USEAPI_SANDBOX="true") as server:
        await server.call("upscale_video", source=PIXVERSE)
        reply = await server.call("list_media", limit=50)

    assert len(reply.text) <= 8000
    assert all(row["source"] in reply.text for row in media(reply) if "source" in row)
    assert "https://" not in reply.text
    assert reply.job["next"] in reply.text
    assert f"list_media(cursor={reply.job['cursor']})" in reply.job["next"]
    assert "sandbox" in reply.job["note"]


async def test_long_links_make_a_page_shorter_and_lose_no_row(tmp_path: Path) -> None:
    def with_long_links(_: httpx.Request, answer: httpx.Response) -> httpx.Response:
        data = json.loads(answer.content)
        for row in data["assets"]:
            row |= {"coverUrl": f"https://x.org/{'c' * 1900}", "description": "p" * 5000}
        return httpx.Response(200, json=data)

    async with running(tmp_path) as server:
        whole = await all_pages(server, service="dreamina")
        slow(server.network, "/dreamina/assets", then=with_long_links)
        first = await server.call("list_media", service="dreamina")
        rows = await all_pages(server, service="dreamina")

    assert len(json.dumps(first.job)) < 20_000
    assert 0 < len(media(first)) < len(whole)
    assert len(whole) == len(rows)
    assert max(len(row["prompt"]) for row in rows) <= 120


async def test_a_list_without_times_takes_turns_with_the_others(tmp_path: Path) -> None:
    """How Google Flow names the time is not documented."""

    def without_times(_: httpx.Request, answer: httpx.Response) -> httpx.Response:
        data = json.loads(answer.content)
        for entry in data["media"]:
            del entry["createTime"]
        return httpx.Response(200, json=data)

    async with running(tmp_path) as server:
        slow(server.network, "/assets/media", then=without_times)
        first = await server.call("list_media", limit=10)
        rows = await all_pages(server)

    assert {"dreamina", "google-flow", "pixverse"} == {row["service"] for row in media(first)}
    assert len({row["source"] for row in rows if "source" in row}) == sum(
        "source" in row for row in rows
    )


def flow(answer: object) -> Scripted:
    return Scripted(
        {
            "GET /v1/google-flow/accounts": {"a@b.co": {"health": "OK"}},
            "GET /v1/google-flow/assets/media/a@b.co": Says(answer),
        }
    )


@pytest.mark.parametrize(
    "answer",
    [
        {"media": [{"mediaGenerationId": f"{FLOW}-video:x", "createTime": "2026-11-26T10:00:00Z"}]},
        {"likelyUploads": 0, "x": [], "assets": [{"mediaGenerationId": f"{FLOW}-video:x"}]},
        [{"mediaGenerationId": {"mediaGenerationId": f"{FLOW}-video:x"}, "createdAt": None}],
        {"media": [{"mediaGenerationId": 7}, {"mediaGenerationId": f"{FLOW}-video:x"}, "odd", {}]},
        {
            "media": [
                {"mediaGenerationId": f"{FLOW}-voice:v"},
                {"mediaGenerationId": f"{FLOW}-video:x", "prompt": ["no text"]},
            ]
        },
    ],
)
async def test_a_list_of_google_flow_is_understood_in_every_form(
    tmp_path: Path, answer: object
) -> None:
    """Only `mediaGenerationId` and `likelyUpload` are documented (1 September 2026)."""
    async with running(tmp_path, vendor=flow(answer)) as server:
        (row,) = media(await server.call("list_media", service="google-flow"))

    assert (f"{FLOW}-video:x", ["upscale_video"]) == (row["source"], row["can"])


async def test_an_upload_on_google_flow_can_be_a_frame_and_an_upscale_can_only_be_saved(
    tmp_path: Path,
) -> None:
    """Whether an upload can be upscaled is not documented; that it can be a frame is."""
    answer = {
        "media": [
            {"mediaGenerationId": f"{FLOW}-image:up", "likelyUpload": True},
            {"mediaGenerationId": f"{FLOW}-video:x_upsampled", "likelyUpload": False},
        ]
    }
    async with running(tmp_path, vendor=flow(answer)) as server:
        reply = await server.call("list_media", service="google-flow")

    assert [["generate_video", "generate_image"], []] == [row["can"] for row in media(reply)]
    assert "as start_image or reference_image" in reply.job["next"]
    assert 1 == reply.text.count("no tool takes it")


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("dreamina", "/dreamina/assets"),
        ("google-flow", "/assets/media"),
        ("pixverse", "/pixverse/videos"),
    ],
)
@pytest.mark.parametrize("odd", [[], {}, {"data": 7, "assets": 7}, "text"])
async def test_a_list_of_an_unknown_form_is_an_error_that_says_so(
    tmp_path: Path, service: str, path: str, odd: object
) -> None:
    async with running(tmp_path) as server:
        slow(server.network, path, then=httpx.Response(200, json=odd))
        reply = await server.call("list_media", service=service, kind="video")

    if service == "google-flow" and odd == []:
        assert [] == media(reply)
    else:
        assert "unexpected_answer" == reply.error["code"]


async def test_rows_of_pixverse_that_name_nothing_are_left_out(tmp_path: Path) -> None:
    vendor = Scripted(
        {
            "GET /v2/pixverse/accounts": {"a@b.co": {}},
            "GET /v2/pixverse/videos?email=a%40b.co": {
                "data": ["odd", {}, {"video_id": 7}, {"video_id": "x"}],
                "next_offset": None,
            },
        }
    )
    async with running(tmp_path, vendor=vendor) as server:
        reply = await server.call("list_media", service="pixverse", kind="video")

    assert [] == media(reply)
    assert reply.text.startswith("0 found, and no more.")


async def test_the_list_is_told_even_where_the_journal_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite").write_bytes(b"no database" * 999)
    async with running(tmp_path) as server:
        reply = await server.call("list_media")

    assert 20 == len(media(reply))


@pytest.mark.parametrize(
    ("given", "service", "kind"),
    [
        ({"service": "Google Flow", "kind": "Videos"}, "google-flow", "video"),
        ({"service": "flow", "kind": "pictures"}, "google-flow", "image"),
        ({"service": " DREAMINA ", "kind": "clip"}, "dreamina", "video"),
        ({"service": "pixverse", "kind": "images"}, "pixverse", "image"),
    ],
)
async def test_a_service_and_a_kind_are_taken_as_people_write_them(
    tmp_path: Path, given: dict[str, str], service: str, kind: str
) -> None:
    async with running(tmp_path) as server:
        rows = await all_pages(server, **given)
        everything = await server.call("list_media", service="all", kind="any", limit=1000)

    assert {(service, kind)} == {(row["service"], row["kind"]) for row in rows}
    assert 20 < len(media(everything)) <= 50


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"service": "runway"}, "service must be dreamina or google-flow or pixverse"),
        ({"kind": "audio"}, "kind must be video or image"),
        ({"limit": 0}, "limit must be a whole number from 1 to 50"),
        ({"account": ["a"]}, "account must be text"),
        ({"kind": 7}, "kind must be video or image"),
    ],
)
async def test_a_wrong_argument_is_refused_before_anything_is_asked(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    async with running(tmp_path) as server:
        refused = await server.call("list_media", **given)

        assert says in refused.text
        assert [] == server.network.sent
