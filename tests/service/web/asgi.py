"""A request for /classify that a test sends message by message."""

import asyncio


class Call:
    """One request for /classify, message by message."""

    def __init__(self, app, receive, **headers):
        self.app, self.receive, self.sent, self.num_received = app, receive, [], 0
        named = {"content-type": "application/json"} | headers
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": "/classify",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        }

    def run(self):
        asyncio.run(self.app(self.scope, self.receive_next, self.send))
        return self

    async def receive_next(self):
        self.num_received += 1
        return await self.receive()

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


async def never():
    await asyncio.Event().wait()
