"""Measurements. Nothing here is asserted in a test; docs/performance.md says what came out."""
