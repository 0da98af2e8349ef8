"""Every benchmark that needs no data of one's own: `make bench`."""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    for name in ("overhead", "memory", "metrics", "click_log", "trial_records"):
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=True)
