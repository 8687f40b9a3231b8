"""What one request by id enters on its way: each file and each function of our own."""

import asyncio
import json
import sys
from pathlib import Path

import rbm_bundle
import rbm_service
from rbm_service.app import create_app
from tests.connections import InMemoryConnection

MOST_FILES = 14  # of the service; the node table of the bundle is one more
MOST_CALLS = 90
PACKAGES = [Path(package.__file__).parent for package in (rbm_service, rbm_bundle)]
CONTENT = json.dumps({"node_ids": [100]}).encode()
REQUEST = (
    b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(CONTENT), CONTENT)
)


def calls_of_one_request(settings):
    """Every call of a function of our own, as file and name, from the first byte to the access line."""
    calls = []

    def watch(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        package = next((package for package in PACKAGES if path.is_relative_to(package)), None)
        if event == "call" and package is not None:
            calls.append((f"{package.name}/{path.relative_to(package)}", frame.f_code.co_qualname))

    async def ask(connection):
        connection.protocol.data_received(REQUEST)
        await connection.answered()

    async def scenario():
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            connection = InMemoryConnection(app.request_middleware)
            for _ in range(3):  # what happens once has happened
                await ask(connection)
            sys.setprofile(watch)
            try:
                await ask(connection)
            finally:
                sys.setprofile(None)
            assert connection.transport.written[-1].startswith(b"HTTP/1.1 200")

    asyncio.run(scenario())
    return calls


def test_one_request_enters_few_files_and_makes_few_calls(settings):
    calls = calls_of_one_request(settings)
    told = "\n".join(f"{file} {name}" for file, name in calls)
    files = {file for file, _ in calls if file.startswith("rbm_service/")}
    assert 0 < len(files) <= MOST_FILES, f"{len(files)} files:\n{told}"
    assert len(calls) <= MOST_CALLS, f"{len(calls)} calls:\n{told}"
