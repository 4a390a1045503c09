"""What is freed is kept for the next batch, and returned when asked for."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import psutil, torch
from asr_llm.model.allocator import keep_memory, release_memory
def held():
    return psutil.Process().memory_info().rss / 2**20
keep_memory()
before = held()
batch = [torch.ones(2**20) for _ in range(100)]  # 4 MB each
last = torch.ones(2**20)  # lies above them in the heap
del batch
kept = held() - before
release_memory()
print(kept, held() - before)
"""


def test_freed_memory_is_kept_and_then_returned() -> None:
    """In a process of its own: what malloc was told holds for all of it."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, held = map(float, done.stdout.split())
    assert kept > 390 and held < 100
