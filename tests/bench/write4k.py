"""Writes FILE in pieces of 4 KiB and prints how many seconds the writes took: FILE BYTES."""
import os
import sys
import time

fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
block = os.urandom(4096)
start = time.monotonic()
for _ in range(int(sys.argv[2]) // len(block)):
    os.write(fd, block)
print(time.monotonic() - start)
os.close(fd)
