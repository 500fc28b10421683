"""Find the browser that the site test drives; run as a script, install one if there is none.

In order: a Chromium or Chrome of the system; Debian's package, as root; Playwright's own download.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SKIP = "DL4CV_NO_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HELP = (
    "No browser for the site test. Install Chromium or Chrome (on Debian: apt-get install\n"
    "chromium), or let Playwright fetch one (playwright install chromium), or set\n"
    "DL4CV_NO_BROWSER=1 to leave the pages unchecked."
)


def find() -> str | None:
    """Return the path of a browser, or None if the machine has none."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return str(path) if path.exists() else None


def install() -> str:
    """Return the path of a browser, installed if need be.

    Raises:
        SystemExit: if none can be had; the message says what to do.
    """
    for command in ([], _apt(), [sys.executable, "-m", "playwright", "install", "chromium"]):
        if command is None:
            continue
        if command:
            print(f"no browser yet; trying: {' '.join(command)}", flush=True)
            subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if path := find():
            return path
    sys.exit(HELP)


def _apt() -> list[str] | None:
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return None
    return [
        "sh",
        "-c",
        "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium",
    ]


if __name__ == "__main__":
    if os.environ.get(SKIP) == "1":
        print(f"{SKIP}=1: NO PAGE WILL BE CHECKED IN A BROWSER")
    else:
        print(f"site test drives {install()}")
