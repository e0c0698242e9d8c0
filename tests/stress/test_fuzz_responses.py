"""A few hundred mutated answers of the vendor; `make answers` takes as many as are wanted."""

from pathlib import Path

import pytest

from tests.stress.fuzz_responses import fuzz


@pytest.mark.repeats
async def test_whatever_the_vendor_answers_comes_out_in_our_words(tmp_path: Path) -> None:
    tally = await fuzz(400, seed=20_261_121, folder=tmp_path)

    assert [] == tally.faults
    assert tally.mutated >= 400
    assert {"completed", "failed", "running"} <= tally.outcomes.keys()
    assert len(tally.outcomes) >= 12
    assert tally.longest_text <= 8_000
