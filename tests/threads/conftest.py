"""Servers of each version to restore into, and to back up."""

from tests.conformance.conftest import start
from tests.conformance.test_capture import backups
from tests.restore.conftest import deploy
from tests.support.waits import short_waits

__all__ = ["backups", "deploy", "short_waits", "start"]
