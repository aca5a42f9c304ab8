"""Reports to read: one HTML file each, without anything from outside, made from what is already written as JSON."""

from pathlib import Path

COLOURS = Path(__file__).parent / "colours.css"
"""The style sheet with the colours of our pages, light and dark; each page has its own beside it."""
