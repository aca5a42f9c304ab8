"""Opening an address in a browser that a person sees."""

import os
import sys
import webbrowser

_IN_TERMINAL = {"www-browser", "lynx", "links", "elinks", "w3m"}


def open_in_browser(url: str) -> bool:
    """Open an address, and return whether a browser with windows did. Those inside a terminal are left alone."""
    has_display = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if not (has_display or os.environ.get("BROWSER")):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return getattr(browser, "name", "") not in _IN_TERMINAL and browser.open(url)
