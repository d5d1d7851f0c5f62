"""
The same calls on a mount and on a local directory (model.py). Fixed seeds, which can
be done again by model_runs.py; seeds that are new each time, and mounts with
close=async: tests/soak.py --model.
"""
import pytest

import model_runs


@pytest.mark.plain      # thousands of calls, and each compared
@pytest.mark.parametrize("variant", ["plain", "no_cache", "keep_old", "fine-tune", "relist",
                                     "latency", "faults"])
def test_model(variant):
    model_runs.run(variant, 1, 500)


@pytest.mark.parametrize("variant", ["plain", "relist"])
def test_short(variant):
    model_runs.run(variant, 2, 200)


def test_several_at_once():
    """On files of their own: none sees anything of the others."""
    model_runs.run("plain", 3, 80, 3)
