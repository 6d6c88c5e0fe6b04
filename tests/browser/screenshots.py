"""Screenshots of the report page over fabricated runs: look at them before a change is done.

python tests/browser/screenshots.py DIRECTORY

Reports of 1, 24 and 320 runs, of three seeds of two configurations, and of a failed run, each 1440
and 390 pixels wide, light and dark.
"""

from __future__ import annotations

import sys
from pathlib import Path

import webdriver
from fabricated_runs import fabricate_run, fabricate_study, fabricate_sweep

from cvae import report_page, results


def main() -> None:
    out = Path(sys.argv[1])
    runs = out / "runs"
    fabricate_sweep(runs / "1" / "search", 1, faults=False)
    for count in (24, 320):
        fabricate_sweep(runs / str(count) / "search", count, dev_rows=120)
        fabricate_study(runs / str(count) / "search")
    for seed in range(3):
        for size in (8, 16):
            overrides = {"model.latent_size": size, "seed": seed}
            fabricate_run(runs / "seeds" / f"{size}_{seed}", overrides)
    fabricate_run(runs / "failed" / "a", status="failed", reason="ValueError: no data")
    with webdriver.Browser() as browser:
        for directory in sorted(runs.iterdir()):
            page = out / f"{directory.name}.html"
            report_page.write(results.load(directory), page)
            for width in (1440, 390):
                for dark in (False, True):
                    browser.resize(width, 900)
                    browser.dark(dark)
                    browser.open(page)
                    browser.run("return window.report.settle().then(() => true)")
                    name = f"{directory.name}-{width}-{'dark' if dark else 'light'}.png"
                    browser.screenshot(out / name, full=True)
                    print(out / name)


if __name__ == "__main__":
    main()
