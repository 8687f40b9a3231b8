"""How much of the bodies of requests is read, and held in memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long a body may be, and how long it may take to arrive."""

    max_bytes: int
    timeout_seconds: float


@dataclass(slots=True)
class BodyBudget:
    """Bounds the bytes of all bodies in memory together; a body that is alone may grow beyond that."""

    max_bytes: int = 2**63
    max_body_bytes: int = 2**63  # nobody reads more of one
    num_bytes: int = 0
