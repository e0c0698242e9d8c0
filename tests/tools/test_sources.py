"""The source of a paid call: which id is sent for the id that was given."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from mcp_server.sandbox import media
from mcp_server.sandbox.app import Sandbox
from tests.services.scripted import Scripted
from tests.support.harness import GOOD, ORIGIN, Fault, Harness, Reply, VirtualClock, running
from tests.support.media_host import MediaHost, WithMediaHost, film

VIDEO = GOOD["dreamina", "video"]
FLOW_IMAGE = GOOD["google-flow", "image"]
FLOW_OWNER = "user:12345-email:75736572406578616d706c652e636f6d"
FLOW_JOB = "j1731859234567890123v-u12345-email:user@example.com-bot:google-flow"


async def named_by_us(h: Harness) -> str:
    """The id of ours of a job that its vendor has not named yet."""
    h.network.faults = [Fault(after_s=60)]
    reply = await h.call("upscale_video", source=VIDEO)
    assert reply.job["status"] == "submitting"
    return str(reply.job["job_id"])


async def test_an_id_of_ours_is_the_vendors_job(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = await named_by_us(h)
        await asyncio.sleep(60)
        job = (await h.call("get_job", job_id=ours, wait_seconds=50)).job
        reply = await h.call("interpolate_video", source=ours, fps=60)

        assert not ours == job["job_id"] == reply.job["source"]
        assert job["job_id"] == json.loads(h.posts()[-1].content)["jobid"]


async def test_a_job_that_its_vendor_has_not_named_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        ours = await named_by_us(h)
        reply = await h.call("interpolate_video", source=ours, fps=60)

        assert ("not_ready", "wait_then_retry") == (reply.error["code"], reply.error["next_action"])
        assert 1 == len(h.posts())


async def test_an_id_of_ours_that_was_never_given_is_looked_up_in_the_list(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("upscale_video", source=f"useapi-mcp:{'a' * 26}")

        assert ("unknown_id", "list_jobs") == (reply.error["code"], reply.error["next_action"])
        assert [] == h.network.sent


async def test_a_result_without_an_id_of_its_own_is_no_source(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        done = await h.call("upscale_image", source=FLOW_IMAGE)
        job = (await h.call("get_job", job_id=done.job["job_id"], wait_seconds=50)).job
        reply = await h.call("upscale_image", source=job["job_id"], resolution="4k")

        assert "unsupported" == reply.error["code"]
        assert "no media_id" in reply.text
        assert 1 == len(h.posts())


async def flow_job(tmp_path: Path, **record: Any) -> tuple[Harness, Any, Scripted]:
    vendor = Scripted({f"GET /v1/google-flow/jobs/{FLOW_JOB}": {"request": {}, **record}})
    async with running(tmp_path, vendor=vendor) as h:
        return h, await h.call("upscale_video", source=FLOW_JOB), vendor


def made(*names: str) -> dict[str, Any]:
    media = [
        {
            "mediaGenerationId": f"{FLOW_OWNER}-video:{name}",
            "videoUrl": "https://flow-content.google/x.mp4",
        }
        for name in names
    ]
    return {"type": "video", "status": "completed", "response": {"media": media}}


async def test_a_job_of_several_clips_names_them(tmp_path: Path) -> None:
    h, reply, _ = await flow_job(tmp_path, **made("one", "two"))

    assert "unsupported" == reply.error["code"]
    assert f"{FLOW_OWNER}-video:one, {FLOW_OWNER}-video:two" in reply.text
    assert [] == h.posts()


async def test_a_job_that_failed_is_no_source(tmp_path: Path) -> None:
    h, reply, _ = await flow_job(tmp_path, status="failed", error="no")

    assert "unsupported" == reply.error["code"]
    assert "is failed" in reply.text
    assert [] == h.posts()


async def test_a_job_made_elsewhere_is_its_clip(tmp_path: Path) -> None:
    *_, vendor = await flow_job(tmp_path, **made("one"))

    assert f"{FLOW_OWNER}-video:one" == vendor.bodies[0]["mediaGenerationId"]


# Files and links


CLIP = media.read(media.clip(640, 360, 24))
JPEG = media.read(media.image(1280, 720))
LINK = f"{ORIGIN}/media/{media.clip(640, 360, 24)}"
IMAGE_LINK = f"{ORIGIN}/media/{media.image(1280, 720)}"
DREAMINA_IMAGE = GOOD["dreamina", "image"]


def put(folder: Path, name: str = "clip.mp4", content: bytes = CLIP) -> str:
    path = folder / "own" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return str(path)


def size_of(path: str) -> int:
    return Path(path).stat().st_size


def rewrite(path: Path) -> None:
    path.write_bytes(CLIP)


def own(folder: Path) -> dict[str, Any]:
    return {"USEAPI_INPUT_DIRS": str(folder / "own")}


def paths_of(requests: list[httpx.Request]) -> list[str]:
    return [request.url.path for request in requests]


async def test_an_own_video_and_an_own_image_become_4k_files(tmp_path: Path) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        for tool, path, size in (
            ("upscale_video", put(tmp_path), (3840, 2160)),
            ("upscale_image", put(tmp_path, "photo.jpg", JPEG), (3840, 2160)),
        ):
            made = await h.call(tool, source=path, max_credits=100)
            await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
            saved = await h.call("download_media", job_id=made.job["job_id"])

            (item,) = saved.job["media"]
            assert size == (item["width"], item["height"])
            assert item["size_bytes"] == size_of(item["path"])
            assert Path(path).name == saved.job["source"]


async def test_an_https_link_to_a_file_is_uploaded_once(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        first = await h.call("upscale_video", source=f" <{LINK}> ")
        again = await h.call("upscale_video", source=LINK)
        same = await h.call("upscale_video", source=LINK + "?another=1")

        assert "running" == first.job["status"]
        assert first.job["job_id"] == again.job["job_id"] == same.job["job_id"]
        assert media.clip(640, 360, 24) == first.job["source"]
        assert 1 == sum("/files" in path for path in paths_of(h.posts()))
        assert 2 == paths_of(h.network.sent).count(f"/media/{media.clip(640, 360, 24)}")
        assert [] == list((tmp_path / "output").glob(".useapi*"))


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("https://192.168.1.4/a.mp4", "unusable_file", "not public"),
        ("https://[::1]/a.mp4", "unusable_file", "not public"),
        ("http://example.com/a.mp4", "unusable_file", "is not plain https on port 443"),
        ("https://example.com:8443/a.mp4", "unusable_file", "is not plain https on port 443"),
        (f"{ORIGIN}/v2/account", "unusable_file", "no longer"),
        (IMAGE_LINK, "unusable_file", "leads to no video of a known type"),
        (f"{ORIGIN}/media/missing.mp4", "unusable_file", "is good no longer"),
    ],
)
async def test_a_link_to_something_else_is_refused(
    tmp_path: Path, url: str, code: str, says: str
) -> None:
    async with running(tmp_path) as h:
        reply = await h.call("upscale_video", source=url)

        assert code == reply.error["code"]
        assert says in reply.text
        assert "nothing was sent" in reply.text
        assert [] == h.posts()
        assert [] == list((tmp_path / "output").glob(".useapi*"))


async def test_a_link_to_5_gb_of_nothing_is_left_at_its_first_bytes(tmp_path: Path) -> None:
    host = MediaHost(body=bytes(5_000_000))
    network = WithMediaHost(Sandbox(now=VirtualClock().now), host)
    async with running(tmp_path, network=network) as h:
        reply = await h.call("upscale_video", source=f"{ORIGIN}/media/a.mp4")

        assert "unusable_file" == reply.error["code"]
        assert host.sent_bytes < 1_000_000
        assert [] == h.posts()


async def test_by_default_a_users_own_folders_and_the_output_folder_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("Movies", "Videos", "Desktop", "Documents", "Downloads", "Pictures"):
        (tmp_path / "home" / name).mkdir(parents=True)
    inside = tmp_path / "home" / "Documents" / "a.mp4"
    outside = tmp_path / "home" / "a.mp4"
    movies = tmp_path / "home" / "Movies" / "a.mp4"  # also where the system's own name is Videos
    for path in (inside, outside, movies, tmp_path / "output" / "a.mp4"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CLIP)
    async with running(tmp_path) as h:
        codes = [
            (await h.call("upscale_video", source=source)).is_error
            for source in (
                "~/Documents/a.mp4",
                "~/Movies/a.mp4",
                str(tmp_path / "output" / "a.mp4"),
                str(outside),
            )
        ]

    assert [False, False, False, True] == codes


async def test_what_the_service_takes_is_checked_before_anything_is_sent(tmp_path: Path) -> None:
    large = put(tmp_path, "large.mp4", media.read(media.clip(3840, 2160, 24)))
    long = put(tmp_path, "long.mp4", media.read(media.clip(640, 360, 24, 180)) + bytes(8))
    image = put(tmp_path, "photo.jpg", JPEG)
    async with running(tmp_path, **own(tmp_path)) as h:
        too_large = await h.call("upscale_video", source=large)
        fits = await h.call("upscale_video", source=long)
        no_video = await h.call("upscale_video", source=image)
        no_image = await h.call("upscale_image", source=put(tmp_path))
        no_frames = await h.call("interpolate_video", source=put(tmp_path), fps=60)

        assert "is 3840x2160, and PixVerse takes what is smaller than 4K" in too_large.text
        assert "running" == fits.job["status"]
        assert "is JPEG, and PixVerse takes MP4, MOV here" in no_video.text
        assert "is MP4, and PixVerse takes JPEG, PNG, WEBP" in no_image.text.replace("WebP", "WEBP")
        assert "No service raises the frame rate" in no_frames.text
        assert "upscale_video" in no_frames.text
        assert 1 == sum("/files" in path for path in paths_of(h.posts()))


@pytest.mark.parametrize(
    "link", ["ftp://example.com/a.mp4", "s3://bucket/a.mp4", "www.example.com/a.mp4"]
)
async def test_a_link_that_is_not_read_is_no_path_either(tmp_path: Path, link: str) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        reply = await h.call("upscale_video", source=link)

        assert "A link of this kind is no source" in reply.text
        assert "an https link" in reply.text
        assert [] == h.network.sent


async def test_an_argument_that_no_upscaler_of_own_files_takes_is_refused_first(
    tmp_path: Path,
) -> None:
    path = put(tmp_path)
    async with running(tmp_path, **own(tmp_path)) as h:
        replies = [
            await h.call("upscale_video", source=path, **given)
            for given in (
                {"resolution": "720p"},
                {"resolution": "1080p"},
                {"model": "topaz-gigapixel"},
                {"captcha_retry": 3},
            )
        ]

        assert all(reply.error["code"] in ("unsupported", "invalid_argument") for reply in replies)
        assert [] == h.posts()


# Results as sources


async def test_a_link_and_a_saved_file_of_a_job_are_that_job(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        made = await h.call("upscale_video", source=VIDEO)
        done = await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        saved = await h.call("download_media", job_id=made.job["job_id"])
        by_link = await h.call("interpolate_video", source=done.job["media"][0]["url"], fps=60)
        path = saved.job["media"][0]["path"]
        by_path = await h.call("interpolate_video", source=path, fps=60)
        by_uri = await h.call("interpolate_video", source=Path(path).as_uri(), fps=60)

        assert made.job["job_id"] == by_link.job["source"]
        assert 1 == len({reply.job["job_id"] for reply in (by_link, by_path, by_uri)})
        assert 2 == len(h.posts())


async def test_a_link_with_another_signature_is_the_job_that_alone_has_it(tmp_path: Path) -> None:
    """Each read of a job may bring another signature, and the user has kept the first."""
    async with running(tmp_path) as h:
        made = await h.call("upscale_video", source=VIDEO)
        done = await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        link = done.job["media"][0]["url"].partition("?")[0]
        reply = await h.call("interpolate_video", source=f"{link}?Signature=older", fps=30)

        assert made.job["job_id"] == reply.job["source"]


async def test_a_saved_file_that_was_changed_is_no_longer_the_job(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        made = await h.call("upscale_video", source=VIDEO)
        await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        saved = await h.call("download_media", job_id=made.job["job_id"])
        path = Path(saved.job["media"][0]["path"])
        rewrite(path)
        reply = await h.call("upscale_video", source=str(path))

        assert ("pixverse", path.name) == (reply.job["service"], reply.job["source"])


async def test_a_result_stays_with_its_own_service(tmp_path: Path) -> None:
    """An upscale by Dreamina is not sent to PixVerse by itself, which would be paid twice."""
    async with running(tmp_path) as h:
        made = await h.call("upscale_video", source=VIDEO)
        await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        saved = await h.call("download_media", job_id=made.job["job_id"])
        reply = await h.call("upscale_video", source=saved.job["media"][0]["path"])

        assert "already an upscale" in reply.text
        assert 1 == len(h.posts())


async def test_an_image_of_several_is_chosen_by_its_index_its_link_or_its_path(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as h:
        done = await h.call("get_job", job_id=DREAMINA_IMAGE)
        assert len(done.job["media"]) > 1
        made = await h.call("generate_image", prompt="a boat", service="dreamina")
        done = await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        saved = await h.call("download_media", job_id=made.job["job_id"])
        second = saved.job["media"][1]["path"]
        by_path = await h.call("upscale_image", source=second)
        by_index = await h.call("upscale_image", source=made.job["job_id"], image_index=1)
        differs = await h.call("upscale_image", source=second, image_index=2)

        assert by_path.job["job_id"] == by_index.job["job_id"]
        assert 1 == json.loads(h.posts()[-1].content)["imageIndex"]
        assert "image_index is 2" in differs.text


# Images that a generation goes by


MAKERS = [
    ("dreamina", "firstFrameRef", "/v1/dreamina/assets/"),
    ("google-flow", "startImage", "/v1/google-flow/assets/"),
    ("pixverse", "first_frame_path", "/v2/pixverse/files"),
]


@pytest.mark.parametrize(("service", "field", "upload"), MAKERS)
async def test_an_own_image_starts_a_clip_on_every_service(
    tmp_path: Path, service: str, field: str, upload: str
) -> None:
    path = put(tmp_path, "photo.jpg", JPEG)
    wish: dict[str, Any] = {"prompt": "It turns.", "service": service, "start_image": path}
    if service == "dreamina":
        wish["account"] = "US:"
    async with running(tmp_path, **own(tmp_path)) as h:
        made = await h.call("generate_video", **wish)
        again = await h.call("generate_video", **wish)
        other = await h.call("generate_video", **wish, variation=2)
        done = await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)

        assert made.job["job_id"] == again.job["job_id"] != other.job["job_id"]
        assert "photo.jpg" == made.job["options"]["start_image"]
        assert "completed" == done.job["status"]
        first, *orders = h.posts()
        assert first.url.path.startswith(upload)
        assert "image/jpeg" == first.headers["content-type"]
        assert 2 == len(orders)
        refs = {json.loads(order.content)[field] for order in orders}
        assert 1 == len(refs)
        assert not refs.pop().startswith("file:")


@pytest.mark.parametrize("service", ["dreamina", "google-flow", "pixverse"])
async def test_a_result_of_another_service_is_fetched_and_uploaded(
    tmp_path: Path, service: str
) -> None:
    async with running(tmp_path) as h:
        made = await h.call(
            "generate_image",
            prompt="a boat",
            service="pixverse" if service == "google-flow" else "google-flow",
        )
        await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        account = {"account": "US:"} if service == "dreamina" else {}
        reply = await h.call(
            "generate_image",
            prompt="the same at night",
            service=service,
            reference_image=made.job["job_id"],
            **account,
        )

        assert service == reply.job["service"], reply.text
        assert 3 == len(h.posts())


async def test_an_image_of_google_flow_goes_as_it_is_on_google_flow(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        await h.call(
            "generate_image", prompt="at night", service="google-flow", reference_image=FLOW_IMAGE
        )

        (order,) = h.posts()
        assert FLOW_IMAGE in json.loads(order.content).values()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("the photo", "no id"),
        (VIDEO, "has no image"),
        ("/etc/passwd.jpg", "in none of the folders"),
        ("https://10.0.0.1/a.jpg", "not public"),
        (LINK, "leads to no image of a known type"),
        (f"useapi-mcp:{'a' * 26}", "No submission of this server has this id"),
    ],
)
async def test_what_is_no_image_is_refused(tmp_path: Path, image: str, says: str) -> None:
    async with running(tmp_path, **own(tmp_path)) as h:
        reply = await h.call(
            "generate_image", prompt="x", service="dreamina", reference_image=image, account="US:"
        )

        assert says in reply.text
        assert [] == h.posts()


async def test_an_image_too_large_for_a_service_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "photo.jpg", JPEG + bytes(11 << 20))
    async with running(tmp_path, **own(tmp_path)) as h:
        reply = await h.call(
            "generate_image", prompt="x", service="dreamina", reference_image=path, account="US:"
        )

        assert "takes up to 10 MB" in reply.text
        assert [] == h.posts()


async def lost_with_an_own_image(tmp_path: Path, **wish: Any) -> tuple[Harness, Reply]:
    """What the same call is told after a restart, where another reference went out than ours."""
    path = put(tmp_path, "photo.jpg", JPEG)
    wish |= {"prompt": "It turns.", "start_image": path, "reply_ref": "mine"}
    async with running(tmp_path, job_seconds=300, **own(tmp_path)) as h:
        h.network.concerns = lambda request: request.url.path.endswith("/videos")
        h.network.faults = [Fault(after_s=30, then="cut")]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await h.call("generate_video", **wish)
    async with running(
        tmp_path, sandbox=h.sandbox, network=h.network, clock=h.clock, **own(tmp_path)
    ) as after:
        await after.call("generate_video", **wish)
        await asyncio.sleep(100)
        told = await after.call("generate_video", **wish)

        assert 1 == len(h.sandbox.accepted)
        assert 2 == len(after.posts())
    return h, told


async def test_a_lost_generation_of_an_own_image_is_found_by_what_its_service_calls_that(
    tmp_path: Path,
) -> None:
    h, found = await lost_with_an_own_image(tmp_path, service="google-flow")

    assert h.sandbox.accepted[0].job_id == found.job["job_id"]


async def test_what_may_be_a_lost_generation_of_an_own_image_is_named_and_not_taken(
    tmp_path: Path,
) -> None:
    """Dreamina's record says that there was an image, and not which."""
    h, told = await lost_with_an_own_image(tmp_path, service="dreamina", account="US:")

    made = h.sandbox.accepted[0].job_id
    assert "unconfirmed" == told.job["status"]
    assert f"{made} may be it" in told.text
    assert f"{made} may be it" in told.job["failure"]["message"]


async def test_a_job_that_is_still_made_is_waited_for_before_it_can_be_an_image(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, job_seconds=60) as h:
        made = await h.call("upscale_image", source=DREAMINA_IMAGE)
        wish = {"prompt": "x", "service": "pixverse", "reference_image": made.job["job_id"]}
        early = await h.call("generate_image", **wish)
        await asyncio.sleep(70)
        later = await h.call("generate_image", **wish)

        assert ("not_ready", "wait_then_retry") == (early.error["code"], early.error["next_action"])
        assert "pixverse" == later.job["service"]


async def test_of_a_job_of_several_images_one_must_be_chosen(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        made = await h.call("generate_image", prompt="a boat", service="dreamina")
        await h.call("get_job", job_id=made.job["job_id"], wait_seconds=50)
        saved = await h.call("download_media", job_id=made.job["job_id"])
        paths = [item["path"] for item in saved.job["media"]]
        wish = {"prompt": "x", "service": "pixverse"}
        several = await h.call("generate_image", reference_image=made.job["job_id"], **wish)
        one = await h.call("generate_image", reference_image=paths[1], **wish)

        assert "made several images" in several.text
        assert all(path in several.text for path in paths)
        assert Path(paths[1]).name == one.job["options"]["reference_image"]


async def test_an_image_that_has_no_job_is_fetched_by_a_new_link(tmp_path: Path) -> None:
    async with running(tmp_path) as h:
        reply = await h.call(
            "generate_image", prompt="x", service="pixverse", reference_image=FLOW_IMAGE
        )

        assert "pixverse" == reply.job["service"]
        assert 2 == len(h.posts())


def film_host(folder: Path, size_bytes: int, **host: Any) -> WithMediaHost:
    return WithMediaHost(Sandbox(now=VirtualClock().now), MediaHost(film(size_bytes), **host))


async def test_a_slow_link_is_fetched_by_itself_and_the_same_call_joins(tmp_path: Path) -> None:
    network = film_host(tmp_path, 6_000_000, bytes_per_s=100_000)
    async with running(tmp_path, network=network) as h:
        early = await h.call("upscale_video", source=LINK)
        await asyncio.sleep(30)
        later = await h.call("upscale_video", source=LINK)

        assert "is still being fetched" in early.text
        assert ("not_ready", True) == (early.error["code"], early.error["retryable"])
        assert "running" == later.job["status"]
        assert 1 == len(network.host.seen)


async def test_a_link_that_breaks_off_is_gone_on_with(tmp_path: Path) -> None:
    network = film_host(tmp_path, 3_000_000, breaks_at=[393_216] * 3)
    async with running(tmp_path, network=network) as h:
        broken = await h.call("upscale_video", source=LINK)
        later = await h.call("upscale_video", source=LINK)

        assert ("download_interrupted", True) == (broken.error["code"], broken.error["retryable"])
        assert "nothing was sent" in broken.text
        assert "running" == later.job["status"]
        assert f"bytes={3 * 393_216}-" == network.host.ranges[-1]


async def test_a_link_to_more_than_may_be_fetched_is_refused(tmp_path: Path) -> None:
    network = film_host(tmp_path, 3_000_000)
    async with running(tmp_path, network=network, USEAPI_MAX_DOWNLOAD_MB="1") as h:
        reply = await h.call("upscale_video", source=LINK)

        assert "is larger than 1 MB, so nothing was sent" in reply.text
        assert "USEAPI_MAX_DOWNLOAD_MB" in reply.text
        assert [] == h.posts()


async def test_after_ten_minutes_a_link_is_fetched_anew(tmp_path: Path) -> None:
    network = film_host(tmp_path, 100_000)
    async with running(tmp_path, network=network) as h:
        for waits_s in (0, 590, 20):
            await asyncio.sleep(waits_s)
            await h.call("upscale_video", source=LINK)

        assert 2 == len(network.host.seen)
        assert 1 == len([r for r in h.posts() if "/files" in r.url.path])


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("upscale_video", {"source": FLOW_JOB}),
        ("upscale_image", {"source": "sent by us"}),
        ("upscale_video", {"source": GOOD["pixverse", "video"], "resolution": "1080p"}),
        ("generate_video", {"service": "pixverse", "start_image": FLOW_IMAGE}),
        ("generate_image", {"service": "pixverse", "account": "user"}),
        ("generate_image", {}),
    ],
    ids=["a job", "several images", "a draft?", "an image", "an account", "a service"],
)
async def test_what_a_paid_call_reads_first_takes_ten_seconds_at_most(
    tmp_path: Path, tool: str, arguments: dict[str, Any]
) -> None:
    """A vendor that says nothing must not hold the call longer than clients wait."""
    async with running(tmp_path) as h:
        if arguments.get("source") == "sent by us":
            wish = {"prompt": "Two", "service": "pixverse", "count": 2}
            arguments = {"source": (await h.call("generate_image", **wish)).job["job_id"]}
        elif tool.startswith("generate"):
            arguments = {"prompt": "A kite", **arguments}
        sent = len(h.posts())
        h.network.concerns = lambda request: request.method == "GET"
        h.network.faults = [Fault(after_s=1000)] * 9
        began_s = asyncio.get_running_loop().time()
        reply = await h.call(tool, **arguments)

        assert asyncio.get_running_loop().time() - began_s < 10.1
        assert sent == len(h.posts())
    assert ("unreachable", True) == (reply.error["code"], reply.error["retryable"])
    assert "in time, so nothing was sent." in reply.text
