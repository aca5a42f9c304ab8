"""Acceptance: what a deployment shows of itself, item by item, with the person's own credentials.

`items` has what an item is and the registry of all; the modules beside it fill it. `trying` runs them.
"""
