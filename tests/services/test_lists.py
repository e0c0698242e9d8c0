"""Lists of media and balances of any form are read, or refused as strange, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from mcp_server.errors import UnexpectedAnswerError
from mcp_server.media.files import OutputFolder
from mcp_server.services.accounts import Account
from mcp_server.services.base import Service
from mcp_server.services.registry import SERVICES
from mcp_server.settings import Settings
from mcp_server.upstream.client import Upstream
from tests.support import virtual_time
from tests.support.harness import GOOD, TOKEN, Network, VirtualClock

NAMES = st.sampled_from(
    [
        *("assets", "media", "data", "available", "credits", "models", "video", "videoModels"),
        *("hasMore", "nextOffset", "next_offset", "type", "createdAt", "created_at", "createTime"),
        *(
            "assetId",
            "itemId",
            "videoUrl",
            "imageUrl",
            "coverUrl",
            "description",
            "width",
            "prompt",
        ),
        *("mediaGenerationId", "likelyUpload", "model", "video_id", "image_id", "video_status"),
        *("output_width", "url", "video_duration", "upscaled", "first_frame", "email", "total"),
        *("credit_monthly", "plan_name", "unlimited_image_models", "key"),
    ]
)
ATOMS = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([*GOOD.values(), "https://x.org/a.mp4", "2026-11-26T10:00:00Z", "image", 1])
)
JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=8)
)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=JSON)
def test_any_answer_is_read_as_a_list_and_as_a_balance_or_refused_as_strange(
    tmp_path: Path, service: Service, answer: object
) -> None:
    account = Account("***", login="CA:user@example.com")

    async def read() -> None:
        upstream = Upstream(
            Settings.read({"USEAPI_TOKEN": TOKEN}),
            VirtualClock(),
            OutputFolder(tmp_path),
            Network(JSONResponse(answer)),
        )
        for kinds in service.media_lists:
            try:
                page = await service.media(upstream, account, kinds, "7")
            except UnexpectedAnswerError:
                continue
            for row in page.rows:
                assert row.media is None or row.media.service == service.name
        balance = None
        try:
            balance = await service.balance(upstream, account)
        except UnexpectedAnswerError:
            assert answer is None
        assert balance is None or all(isinstance(name, str) for name in balance.models)
        await upstream.close()

    virtual_time.run(read())
