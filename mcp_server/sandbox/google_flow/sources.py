"""The videos and images of the sandbox's Google Flow API v1, and the errors some of them show.

Sources, cited below by page and date: POST videos/upscale (25 May 2026), POST videos (5 June 2026),
GET jobs/jobId (its Model as copied by a client on 22 July 2026).
"""

from mcp_server.sandbox import responses
from mcp_server.sandbox.state import EMAIL, USER, Refusal, Source, Word, iso, until_midnight_utc

SERVICE = "google-flow"


def owner(email: str) -> str:
    """How each id of this account starts."""
    return f"user:{USER}-email:{email.encode().hex()}"


OWNER = owner(EMAIL)


def video_id(name: str) -> str:
    return f"{OWNER}-video:{name}"


def image_id(name: str) -> str:
    return f"{OWNER}-image:{name}"


GOOD_VIDEO, SECOND_VIDEO, THIRD_VIDEO = (video_id(f"sample-{n}") for n in (1, 2, 3))
FAILING_VIDEO, FAILING_MEDIA = video_id("job-fails"), video_id("media-fails")
LEGACY_VIDEO = video_id("operations-only")
NO_ULTRA_VIDEO = video_id("no-ultra-plan")
LOST_VIDEO = video_id("lost-answer")
GOOD_IMAGE, SECOND_IMAGE = image_id("sample-1"), image_id("sample-2")
LOST_IMAGE = image_id("lost-answer")
LOSING = frozenset({LOST_VIDEO, LOST_IMAGE})


def passthrough(code: int, message: str, status: str, reason: str | None = None) -> responses.Json:
    """Google's own error object."""
    error: responses.Json = {"code": code, "message": message, "status": status}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason}]
    return error


def _exhausted(reason: str) -> responses.Json:
    """429: the reasons are documented, the text and the place of `retryAfter` are assumed."""
    text = "Resource has been exhausted (e.g. check quota)."
    return {"error": passthrough(429, text, "RESOURCE_EXHAUSTED", reason)}


_FULL_S = 60


def throttled(now: float) -> responses.RefusedError:
    """429: an account is asked for too much at once. Assumed: for how long, where slots are set."""
    body = {**_exhausted("PUBLIC_ERROR_USER_REQUESTS_THROTTLED"), "retryAfter": iso(now + _FULL_S)}
    headers = {"Retry-After": str(_FULL_S)}
    return responses.RefusedError(responses.answer(body, status=429, headers=headers))


_TRAFFIC = "PUBLIC_ERROR_UNUSUAL_ACTIVITY_TOO_MUCH_TRAFFIC"
_REJECTED: responses.Json = {
    "error": "captcha_quality: PUBLIC_ERROR_UNUSUAL_ACTIVITY after 3 attempts",
    "code": 403,
}
_TOO_MUCH: responses.Json = {
    "error": f"captcha_quality: {_TRAFFIC} after 3 attempts",
    "code": 429,
    "response": _exhausted(_TRAFFIC),
}
_NO_ACCOUNT_LEFT: responses.Json = {  # as copied from the Model by a client, 22 July 2026
    "error": "no_eligible_account",
    "message": "No eligible account for this model right now.",
    "skipReasons": [
        {"email": EMAIL, "reason": "PUBLIC_ERROR_USER_QUOTA_REACHED", "model": "*"},
    ],
}
_UNAVAILABLE: responses.Json = {
    "error": {"code": 503, "message": "Service temporarily unavailable.", "status": "UNAVAILABLE"}
}
_NO_CAPTCHA: responses.Json = {"error": "Captcha service failed: ERROR_ZERO_BALANCE", "code": 503}
_NO_SESSION: responses.Json = {
    "error": f"Account {EMAIL} in error state: refresh token rejected",
    "code": 596,
}


# POST videos/upscale, 25 May 2026; 402 and 596 are documented for POST videos (5 June 2026).
REFUSALS = {
    video_id("no-subscription"): Refusal(
        "402: no subscription",
        402,
        {"error": "Account has no subscription or subscription expired"},
    ),
    video_id("captcha-rejected"): Refusal("403: captcha token rejected", 403, _REJECTED),
    video_id("no-such-account"): Refusal(
        "404: no such Google Flow account",
        404,
        {"error": f"Google Flow account {EMAIL} not found"},
    ),
    video_id("polling-timeout"): Refusal("408: polling timeout", 408, {"error": "Polling timeout"}),
    video_id("requests-throttled"): Refusal(
        "429: too many requests at a time",
        429,
        _exhausted("PUBLIC_ERROR_USER_REQUESTS_THROTTLED"),
        30 * 60,
        iso=True,
    ),
    video_id("quota-reached"): Refusal(
        "429: the account's quota is reached",
        429,
        _exhausted("PUBLIC_ERROR_USER_QUOTA_REACHED"),
        30 * 60,
        iso=True,
    ),
    video_id("daily-quota-reached"): Refusal(
        "429: the model's quota for today is reached",
        429,
        _exhausted("PUBLIC_ERROR_PER_MODEL_DAILY_QUOTA_REACHED"),
        until_midnight_utc,
        iso=True,
    ),
    video_id("too-much-traffic"): Refusal(
        "429: captcha score too low", 429, _TOO_MUCH, 60, iso=True
    ),
    video_id("no-eligible-account"): Refusal(
        "429: every account is quarantined", 429, _NO_ACCOUNT_LEFT, 30 * 60, iso=True
    ),
    video_id("busy-once"): Refusal(
        "429 with Retry-After: 5 the first time, then accepted",
        429,
        _exhausted("PUBLIC_ERROR_USER_REQUESTS_THROTTLED"),
        5,
        iso=True,
        times=1,
    ),
    video_id("unavailable"): Refusal("503: Google is unavailable", 503, _UNAVAILABLE),
    video_id("captcha-service-failed"): Refusal("503: captcha service failed", 503, _NO_CAPTCHA),
    video_id("session-broken"): Refusal("596: the account's session is broken", 596, _NO_SESSION),
    image_id("captcha-rejected"): Refusal(
        "403: captcha token rejected", 403, _REJECTED, kind="image"
    ),
    image_id("quota-reached"): Refusal(
        "429: the account's quota is reached",
        429,
        _exhausted("PUBLIC_ERROR_USER_QUOTA_REACHED"),
        30 * 60,
        iso=True,
        kind="image",
    ),
    image_id("unavailable"): Refusal("503: Google is unavailable", 503, _UNAVAILABLE, kind="image"),
}

_UNSAFE = "PUBLIC_ERROR_UNSAFE_GENERATION"
# What a prompt or an upload is refused with: what the videos of these names are, and three more.
# The 400s are live notes of September 2026 (audio, plan) and POST assets' form (25 May 2026);
# assumed: that a prompt's moderation has that form too, and where the first one has its text.
WORD_REFUSALS = {
    **{
        source_id.rpartition("-video:")[2]: refusal
        for source_id, refusal in REFUSALS.items()
        if refusal.kind == "video"
    },
    "moderated": Refusal(
        "400: the prompt is moderated, nothing is made",
        400,
        {"error": passthrough(400, "Request was blocked.", "INVALID_ARGUMENT", _UNSAFE)},
    ),
    "audio-filtered": Refusal(
        "400: the sound is filtered, nothing is made",
        400,
        {
            "error": "PUBLIC_ERROR_AUDIO_FILTERED",
            "code": 400,
            "mediaStatus": {
                "mediaGenerationStatus": "MEDIA_GENERATION_STATUS_FAILED",
                "error": {"code": 3, "message": "PUBLIC_ERROR_AUDIO_FILTERED"},
                "failureReasons": ["AUDIO_GENERATION_FILTERED"],
            },
        },
    ),
    "no-paid-plan": Refusal(
        "400: the plan lacks the model",
        400,
        {
            "error": "Tier 'PAYGATE_TIER_NOT_PAID' does not have access to 'veo-3.1-fast' model "
            "for T2V mode with 'landscape' aspect ratio",
            "code": 400,
        },
    ),
}
WORDS = (
    *(refusal.word(word, SERVICE) for word, refusal in WORD_REFUSALS.items()),
    Word("job-fails", SERVICE, "accepted, then the job fails"),
    Word("media-fails", SERVICE, "accepted, then the job completes with a failed video"),
    Word("lost-answer", SERVICE, "accepted, but the first answer to this prompt gets lost"),
    # Whether it is kept without a replyUrl is not said.
    Word("forgets-ref", SERVICE, "the job's request does not hold its replyRef"),
    # clips.mjs (September 2026) reads this form too.
    Word("array", SERVICE, "the synchronous answer for a video is an array of one"),
    Word("encoded", SERVICE, "images come as base64 instead of links"),
    Word("partly-refused", SERVICE, "the first image has neither link nor id, a silent refusal"),
    Word("silently-refused", SERVICE, "no image has a link or an id"),
)

_LOST = "accepted, but the first answer gets lost: the gateway's page comes instead"
SOURCES = (
    Source(GOOD_VIDEO, SERVICE, "a finished video, 1280x720 at 24 fps", good=True),
    Source(SECOND_VIDEO, SERVICE, "another finished video"),
    Source(THIRD_VIDEO, SERVICE, "a third finished video"),
    Source(LEGACY_VIDEO, SERVICE, "its job's record holds only operations[], the legacy shape"),
    Source(NO_ULTRA_VIDEO, SERVICE, "its account may not upscale to 4K: 403"),
    Source(FAILING_VIDEO, SERVICE, "accepted, then the job fails"),
    Source(FAILING_MEDIA, SERVICE, "accepted, then the job completes with a failed media"),
    Source(LOST_VIDEO, SERVICE, _LOST),
    *(refusal.source(source_id, SERVICE) for source_id, refusal in REFUSALS.items()),
    Source(GOOD_IMAGE, SERVICE, "a finished image, 1280x720", good=True, kind="image"),
    Source(SECOND_IMAGE, SERVICE, "another finished image", kind="image"),
    Source(LOST_IMAGE, SERVICE, _LOST, kind="image"),
)
