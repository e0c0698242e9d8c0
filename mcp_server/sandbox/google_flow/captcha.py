"""The sandbox's Google Flow API v1: captcha parameters, and what answers tell of a captcha.

Sources: POST videos/upscale (25 May 2026), GET accounts/captcha-providers (25 June 2026), and the
limits as copied by a client on 22 July 2026. The texts of all refusals are assumed.
"""

from mcp_server.sandbox import responses as web

CAPTCHA_FIELDS = frozenset({"captchaToken", "captchaRetry", "captchaOrder"})
CAPTCHA_SERVICES = frozenset(
    {
        *("CapSolver", "AntiCaptcha", "YesCaptcha", "CapMonster"),
        *("SolveCaptcha", "2Captcha", "EzCaptcha"),
    }
)


def check_captcha(body: web.Json) -> None:
    """Refuse captcha parameters that exclude each other or are out of range.

    Raises:
        RefusedError: a 400.
    """
    given = CAPTCHA_FIELDS & body.keys()
    if len(given) > 1:
        raise invalid(f"Parameters {', '.join(sorted(given))} are mutually exclusive")
    if len(str(body.get("captchaToken", "x" * 20))) < 20:
        raise invalid("Parameter captchaToken must be at least 20 characters")
    if not web.is_number(body.get("captchaRetry", 1), 1, 10):
        raise invalid(f"Parameter captchaRetry ({body['captchaRetry']}) valid range: 1-10")
    order = str(body.get("captchaOrder", "CapSolver")).split(",")
    if len(order) > 10 or not CAPTCHA_SERVICES.issuperset(order):
        raise invalid(f"Parameter captchaOrder ({body['captchaOrder']}) not supported")


def captcha(*, with_attempts: bool = True) -> web.Json:
    """POST videos/upscale, 25 May 2026: `attempts` is in the 200, not in the 201."""
    solved: web.Json = {"service": "AntiCaptcha", "taskId": "abc123", "durationMs": 3500}
    return {**solved, "attempts": [{**solved, "success": True}]} if with_attempts else solved


def invalid(text: str) -> web.RefusedError:
    """Google Flow's 400, which repeats the status as `code` (live notes, September 2026)."""
    return web.refused(400, text, with_code=True)
