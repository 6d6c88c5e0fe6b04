"""Two tests run at the same time on two cores, so each of them uses one thread."""

import os

# Before torch is imported; programs that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
