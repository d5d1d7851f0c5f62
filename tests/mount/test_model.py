"""
The same calls on a mount and on a local directory (model.py). Seeds that are new
each time: tests/soak.py --model.
"""
import pytest

import model_runs

pytestmark = pytest.mark.plain  # two thousand calls, and each compared


@pytest.mark.parametrize("variant", ["plain", "no_cache", "keep_old"])
def test_model(variant):
    model_runs.run(variant, 1, 500)
