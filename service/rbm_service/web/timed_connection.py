"""What a connection is to uvicorn, and the time that it has.

uvicorn makes a connection of every socket, tells each in its `ServerState` to `shutdown` when it ends itself,
and waits until they have gone, and with them the tasks in the same place.
"""

import asyncio
import math
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

NEVER: Final = math.inf


class TimedConnection(FlowControl, asyncio.Protocol):
    """One connection. At most one deadline holds: for the headers that come next, for the rest of a body that
    was answered before its end, or, while it is idle, for the next request.

    Attributes:
        deadline: by the clock of the loop. Most move on long before they are reached, which is less work than
            a timer each.
        timer_at: when somebody looks at the deadline, perhaps too early.
        is_idle: whether nothing has come since the last answer.
    """

    transport: asyncio.Transport

    def __init__(self, server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.server_state = server_state
        self.loop = loop
        self.deadline = self.timer_at = NEVER
        self._timer: asyncio.TimerHandle | None = None
        self.is_idle = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Let the server know of it."""
        super().__init__(transport)  # what pauses and resumes reading and writing, which needs a transport
        self.transport = transport
        self.server_state.connections.add(self)  # type: ignore[arg-type]  # it only calls `shutdown`

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self.server_state.connections.discard(self)
        self._cancel_timer()
        self.resume_writing()

    def shutdown(self) -> None:
        """Close, as soon as what was asked has its answers."""
        raise NotImplementedError

    def start(self, seconds: float) -> None:
        """Set a deadline, unless there is one: whatever arrives meanwhile gains no time."""
        if self.deadline == NEVER and not self.transport.is_closing():
            self.deadline = self.loop.time() + seconds
            if self.deadline < self.timer_at:
                self.set_timer()

    def set_timer(self) -> None:
        """Look at the deadline when it is there, and not later."""
        self._cancel_timer()
        self.timer_at = self.deadline
        self._timer = self.loop.call_at(self.deadline, self._look)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.timer_at = None, NEVER

    def _look(self) -> None:
        self._cancel_timer()
        if self.deadline <= self.loop.time():
            self.deadline = NEVER
            self.shutdown()
        elif self.deadline < NEVER:
            self.set_timer()
