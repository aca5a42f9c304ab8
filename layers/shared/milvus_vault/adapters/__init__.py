"""The outside world: each module implements a protocol of `ports.py` with one SDK, and translates its errors."""
