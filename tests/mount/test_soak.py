"""A short time of tests/soak.py: daemons that die at random points."""
import pytest

import soak

pytestmark = pytest.mark.plain  # the preloaded library and a sanitizer's do not mix


def test_soak():
    runs, failures = soak.soak(20, least=6)
    assert not failures, f"{len(failures)} of {runs} runs failed; again: tests/soak.py --seed N\n" \
        + "\n".join(failures)
    assert runs >= 6
