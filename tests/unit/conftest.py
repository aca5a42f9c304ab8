"""Settings of the tests that need nothing but Python."""

from hypothesis import settings

# On a machine that does other work as well, how long an example takes says nothing about the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
