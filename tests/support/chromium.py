"""The browser in which the console's pages are tried."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# A browser comes from the system: no package of Python brings one, Playwright's own is downloaded from elsewhere, and
# to install one takes rights that whoever runs the tests may not have. What pages say and do is tested without one as
# well, in tests/unit/console. Width, contrast and keyboard are then not tried, and pytest says so.
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
