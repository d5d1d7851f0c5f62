"""make fsx in short: one file under random operations is what a copy in memory is."""
import os
import subprocess

import pytest

import harness
from harness import BUILD, md5, wait_until, xattr


@pytest.mark.plain
@pytest.mark.parametrize("seed", [1, 2])
def test_fsx(world, server, mount, seed):
    path, good = mount.path("batch", "f"), world.path("good")
    with open(good, "wb") as out:
        result = subprocess.run([os.path.join(BUILD, "bin", "fsx"), path, str(seed), "1500"],
                                stdout=out, stderr=subprocess.PIPE, text=True, check=False,
                                timeout=harness.TEST_LIMIT)
    assert result.returncode == 0, result.stderr
    wait_until(lambda: xattr(path, "status") == "completed", "it is published")
    assert server.content_md5(xattr(path, "file_id"))[1] == md5(good)
