"""Every error of this server, by what the caller can do about it.

UseapiError                    `message`: what happened, `hint`: what to do next
├── SettingsError              a setting is wrong; the server does not start
├── RequestError               nothing was sent; change the arguments
│   ├── UnknownIdError         no service owns this id
│   ├── UnusableFileError      the user's file can't be read, or nobody takes it
│   ├── TooLargeError          a file that is sent to this server is larger than it takes
│   └── UnsupportedError       this service can't do that, or takes no such argument
├── ForbiddenError             this caller may only read; nothing was done
├── UsedAddressError           an address that this server handed out works no more
├── UpstreamError              the vendor answered with an error
│   ├── TokenError             401: useapi.net does not know the token
│   │   ├── NoTokenError       none is set, or was given; nothing was sent
│   │   └── OwnTokenError      a user's own can't be had; nothing was sent
│   ├── SubscriptionError      402: the useapi.net subscription has ended
│   ├── CreditsError           412: the linked account is out of credits
│   ├── RefusedError           400, 403: this request will not be done
│   │   ├── ModeratedError     its content was refused; asked again, it will be again
│   │   └── NotReadyError      its source is not finished yet
│   ├── NotFoundError          404
│   ├── ExpiredError           410: the vendor keeps the job no longer
│   ├── RateLimitError         429: later, perhaps at `retry_after_seconds`
│   ├── CaptchaError           Google did not accept the captcha, or its provider failed
│   ├── AccountError           596: the linked account must be connected again
│   └── ServerError            408, 5xx and gateway pages
├── UnreachableError           no connection: nothing was sent
├── UploadError                the file did not arrive; sent again, it costs nothing
├── UnansweredError            sent, but no usable answer: it may have been done
│   └── LostError              its answer would have been the result: nothing is left to find
├── UnexpectedAnswerError      answered, but not as documented
├── QueueFullError             as much waits for its turn as may; nothing was sent
├── BudgetError                the day's credits are spent; nothing was sent
├── DeclinedError              the user said no; nothing was sent
├── ConsentError               a new job would cost what nobody agreed to; nothing was sent
├── QuoteError                 the vendor did not tell the price; nothing was ordered
├── PriceError                 a new job would cost more than was agreed to; nothing was sent
├── DownloadError              the file can't be had or can't be saved
│   ├── InterruptedDownloadError  it broke off; called again, it goes on
│   ├── OutputError            the output folder can't be written, or has no room
│   ├── NoRouteError           a proxy is set, which downloads do not use
│   └── FileGoneError          neither its file nor a link to it is left
├── JournalError               the journal can't be written, so nothing is submitted
│   └── JournalBusyError       another process has locked it, or it is away; soon it can
│       └── JournalCutError    it went away in the middle: written or not, nobody knows
└── InternalError              a fault in this server
"""

from typing import ClassVar, Final, Literal, Self


class UseapiError(Exception):
    """An error with one sentence for what happened and one for what to do next.

    `retryable`: the same call again, at once or later, may go well; the hint says so then.
    The other fields reach the agent as data where they are known. None of them changes once the
    error is made: `about` makes a copy.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    next_action: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        message: str,
        hint: str,
        service: str | None = None,
        http_status: int | None = None,
        retry_after_seconds: int | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(f"{message} {hint}")
        self.message: Final = message
        self.hint: Final = hint
        self.service: Final = service
        self.http_status: Final = http_status
        self.retry_after_seconds: Final = retry_after_seconds
        self.job_id: Final = job_id

    def copy(self) -> Self:
        """The same error without its traceback, whose frames hold what was asked for."""
        copy = type(self).__new__(type(self), *self.args)
        vars(copy).update(vars(self))
        return copy

    def about(self, *, service: str, job_id: str) -> Self:
        """A copy of this error that names a job and its service."""
        copy = self.copy()
        vars(copy).update(service=service, job_id=job_id)
        return copy

    def facts(self) -> dict[str, str | int | float | bool]:
        """The fields an agent can branch on; what is unknown is absent."""
        known = {
            "code": self.code,
            "service": self.service,
            "http_status": self.http_status,
            "retryable": self.retryable,
            "retry_after_seconds": self.retry_after_seconds,
            "job_id": self.job_id,
            "next_action": self.next_action,
        }
        return {name: value for name, value in known.items() if value is not None}


class SettingsError(UseapiError):
    code = "wrong_setting"
    next_action = "fix_settings"


class RequestError(UseapiError):
    code = "invalid_argument"
    next_action = "fix_arguments"


class UnknownIdError(RequestError):
    """`asks` says who may know the id, where it is no matter of how it was written."""

    code = "unknown_id"

    def __init__(
        self, *, message: str, hint: str, asks: Literal["ask_user", "list_jobs"] | None = None
    ) -> None:
        super().__init__(message=message, hint=hint)
        self.asks: Final = asks

    def facts(self) -> dict[str, str | int | float | bool]:
        return super().facts() | ({"next_action": self.asks} if self.asks else {})


class UnusableFileError(RequestError):
    code = "unusable_file"
    next_action = "give_another_file"


class TooLargeError(RequestError):
    code = "too_large"
    next_action = "give_another_file"


class UnsupportedError(RequestError):
    code = "unsupported"


class ForbiddenError(UseapiError):
    code = "forbidden"
    next_action = "ask_operator"


class UsedAddressError(UseapiError):
    code = "used_address"
    next_action = "check_accounts"


class UpstreamError(UseapiError):
    """`vendor_text` is what the vendor said, in one clean line."""

    code = "upstream_error"

    def __init__(
        self,
        *,
        message: str,
        hint: str,
        vendor_text: str = "",
        service: str | None = None,
        http_status: int | None = None,
        retry_after_seconds: int | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(
            message=message,
            hint=hint,
            service=service,
            http_status=http_status,
            retry_after_seconds=retry_after_seconds,
            job_id=job_id,
        )
        self.vendor_text: Final = vendor_text


class TokenError(UpstreamError):
    code = "wrong_token"
    next_action = "set_token"


class NoTokenError(TokenError):
    pass


class OwnTokenError(TokenError):
    code = "own_token"
    next_action = "give_token"


class SubscriptionError(UpstreamError):
    code = "no_subscription"
    next_action = "renew_subscription"


class CreditsError(UpstreamError):
    code = "no_credits"
    next_action = "buy_credits"


class RefusedError(UpstreamError):
    code = "refused"
    next_action = "fix_arguments"


class ModeratedError(RefusedError):
    code = "moderated"
    next_action = "use_another_source_or_prompt"


class NotReadyError(RefusedError):
    code = "not_ready"
    retryable = True
    next_action = "wait_then_retry"


class NotFoundError(UpstreamError):
    code = "not_found"
    next_action = "check_id"


class ExpiredError(UpstreamError):
    code = "expired"
    next_action = "submit_again"


class RateLimitError(UpstreamError):
    code = "rate_limited"
    retryable = True
    next_action = "wait_then_retry"


class CaptchaError(UpstreamError):
    code = "captcha"
    next_action = "fix_captcha"


class AccountError(UpstreamError):
    code = "account_error"
    next_action = "reconnect_account"


class ServerError(UpstreamError):
    code = "server_error"
    retryable = True
    next_action = "wait_then_retry"


class UnreachableError(UseapiError):
    code = "unreachable"
    retryable = True
    next_action = "wait_then_retry"


class UploadError(UseapiError):
    code = "upload_failed"
    retryable = True
    next_action = "call_again"


class UnansweredError(UseapiError):
    """The bytes of a paid request left and nothing usable came back.

    `vendor_answered` says the vendor itself answered, in its envelope: its work on the request
    is over, so a look soon after proves something. A cut, a time-out or a gateway's page does not.
    """

    code = "unanswered"
    retryable = True
    next_action = "call_again"

    def __init__(
        self,
        *,
        message: str,
        hint: str,
        vendor_answered: bool = False,
        service: str | None = None,
        http_status: int | None = None,
        job_id: str | None = None,
    ) -> None:
        super().__init__(
            message=message, hint=hint, service=service, http_status=http_status, job_id=job_id
        )
        self.vendor_answered: Final = vendor_answered


class LostError(UnansweredError):
    code = "lost"


class UnexpectedAnswerError(UseapiError):
    code = "unexpected_answer"
    retryable = True
    next_action = "wait_then_retry"


class QueueFullError(UseapiError):
    code = "queue_full"
    retryable = True
    next_action = "wait_then_retry"


class BudgetError(UseapiError):
    code = "budget_spent"
    next_action = "raise_budget"


class DeclinedError(UseapiError):
    code = "declined"
    next_action = "offer_something_else"


class DownloadError(UseapiError):
    code = "download_failed"
    next_action = "get_job"


class InterruptedDownloadError(DownloadError):
    code = "download_interrupted"
    retryable = True
    next_action = "wait_then_retry"


class OutputError(DownloadError):
    code = "output_folder"
    next_action = "fix_settings"


class NoRouteError(DownloadError):
    code = "no_direct_route"
    next_action = "open_link"


class FileGoneError(DownloadError):
    code = "file_gone"
    next_action = "submit_again"


class ConsentError(UseapiError):
    code = "consent_needed"
    retryable = True
    next_action = "call_again"


class QuoteError(UseapiError):
    code = "price_not_told"
    retryable = True
    next_action = "call_again"


class PriceError(UseapiError):
    """`price` is in credits; None: it is not known beforehand."""

    code = "price"
    next_action = "ask_user_then_set_max_credits"

    def __init__(
        self, *, message: str, hint: str, service: str | None = None, price: float | None = None
    ) -> None:
        super().__init__(message=message, hint=hint, service=service)
        self.price: Final = price

    def facts(self) -> dict[str, str | int | float | bool]:
        price = {} if self.price is None else {"price": self.price}
        return super().facts() | price


class JournalError(UseapiError):
    code = "journal_unusable"
    next_action = "fix_settings"


class JournalBusyError(JournalError):
    code = "journal_busy"
    retryable = True
    next_action = "wait_then_retry"


class JournalCutError(JournalBusyError):
    """Raised by a transaction that may or may not have been committed."""

    code = "journal_cut"


class InternalError(UseapiError):
    code = "internal"
    next_action = "tell_user"
