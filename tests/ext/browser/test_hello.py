"""What a newcomer sees: the hello world of the README's first command in one tab, its numbers in another."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest_twisted

from tests.ext.browser.chromium import Chromium
from tests.processes import ROOT, Child

HELLO = [sys.executable, ROOT / "examples" / "hello.py", "--listen=0", "--dashboard=0"]


@pytest_twisted.ensureDeferred
async def test_the_numbers_move_with_each_reload(browser: Chromium, tmp_path: Path) -> None:
    """The page stays open, and nobody touches it."""
    with Child(*HELLO, cwd=tmp_path) as child:
        hello = child.says(r"curl '(http://[^/]+/\?world_size=15)'")[1]
        page, other = await browser.page(), await browser.page()
        await page.open(child.says(r"and see it: (http://\S+/)")[1])
        so_far = "+document.querySelector('[data-key=total]').innerText.match(/\\d+/)"
        for _ in range(3):
            before = await page.ask(f"document.querySelector('[data-key=total]') ? {so_far} : 0")
            await other.open(hello)
            await page.until(f"{so_far} > {before}")
        assert "GET-_root" in await page.ask("document.querySelector('#routes').innerText")
        assert page.errors == []
        await other.close()
        await page.close()
