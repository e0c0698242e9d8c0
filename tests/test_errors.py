"""The errors: their tree is the one in the docstring; each has fields an agent can branch on."""

import re

import pytest

from mcp_server import errors
from mcp_server.errors import (
    NotFoundError,
    RateLimitError,
    UnansweredError,
    UseapiError,
)


def kinds(top: type[UseapiError] = UseapiError) -> list[type[UseapiError]]:
    """Every error in the order of the module, with what is below it."""
    below = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [top] + [k for kind in below if kind.__base__ is top for k in kinds(kind)]


def drawn() -> list[tuple[str, str]]:
    """(error, parent) for each line of the drawing in the docstring."""
    found, parents = [], {}
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"([│├└─ ]*)(\w+Error)\b", line)
        if branch:
            depth = len(branch[1]) // 4
            parents[depth] = branch[2]
            found.append((branch[2], parents.get(depth - 1, "Exception")))
    return found


def test_the_tree_in_the_docstring_is_the_tree_there_is() -> None:
    real = [(kind.__name__, str(kind.__base__.__name__)) for kind in kinds() if kind.__base__]

    assert sorted(real) == sorted(drawn())


def test_no_two_kinds_of_error_are_given_the_same_code() -> None:
    codes = [kind.code for kind in kinds() if "code" in vars(kind)]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


BASES = {"UseapiError", "UpstreamError"}  # each error that is raised is below them


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind.__name__ not in BASES])
def test_what_to_do_next_is_to_call_again_exactly_where_that_may_help(
    kind: type[UseapiError],
) -> None:
    assert kind.next_action
    assert kind.retryable == (kind.next_action in ("wait_then_retry", "call_again"))


def test_facts_hold_what_is_known_and_nothing_else() -> None:
    error = RateLimitError(
        message="Busy.", hint="Wait.", service="pixverse", http_status=429, retry_after_seconds=30
    )

    facts = error.facts()

    assert facts == {
        "code": "rate_limited",
        "service": "pixverse",
        "http_status": 429,
        "retryable": True,
        "retry_after_seconds": 30,
        "next_action": "wait_then_retry",
    }
    assert {"code": "error", "retryable": False} == UseapiError(message="a", hint="b").facts()


def test_a_job_an_error_is_about_is_among_its_facts() -> None:
    assert "j1" == NotFoundError(message="Gone.", hint="Look.", job_id="j1").facts()["job_id"]


def test_an_error_reads_as_what_happened_and_what_to_do() -> None:
    assert "It broke. Mend it." == str(UseapiError(message="It broke.", hint="Mend it."))


def test_a_copy_about_a_job_is_the_same_error_and_leaves_the_first_as_it_was() -> None:
    error = UnansweredError(message="Sent.", hint="Look.", vendor_answered=True, http_status=502)

    copy = error.about(service="pixverse", job_id="j1")

    assert (UnansweredError, True, "Sent. Look.") == (type(copy), copy.vendor_answered, str(copy))
    assert copy.facts() == {**error.facts(), "service": "pixverse", "job_id": "j1"}
    assert error.service is error.job_id is None
