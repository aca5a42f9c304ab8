"""What a server says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """The answer of CheckHealth. Either tells something, or neither does."""

    limits: tuple[str, ...] = ()
    """Limits that are reached, each with its reason: `DenyToWrite: disk quota exceeded`."""
    ailments: tuple[str, ...] = ()
    """Why the server says that it is not healthy, each once and in one line."""

    @property
    def warning(self) -> str:
        """Return what to say of a server that does not call itself healthy; empty where it does."""
        if not self.ailments:
            return ""
        return (
            f"Milvus says that it is not healthy: {'; '.join(self.ailments)}. For some time after a start that is so of"
            " nodes that were there before"
        )
