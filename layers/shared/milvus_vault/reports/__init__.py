"""Reports to read: one HTML file each, without anything from outside, made from what is already written as JSON."""

from pathlib import Path

COLOURS = Path(__file__).parent / "colours.css"
"""The style sheet with what all our pages share: their colours, light and dark, and what scrolls sideways in them."""
