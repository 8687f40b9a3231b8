from rbm_service.transport import OneGo

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Transport:
    """Remembers what left, go by go."""

    def __init__(self):
        self.sent = []
        self.is_closed = False

    def write(self, data):
        self.sent.append(data)

    def writelines(self, parts):
        self.sent.append(b"".join(parts))

    def get_extra_info(self, name):
        return f"info on {name}"

    def close(self):
        self.is_closed = True


def test_a_head_leaves_with_its_body_and_what_follows_by_itself():
    transport = Transport()
    one_go = OneGo(transport)
    one_go.write(HEAD)
    assert transport.sent == []
    for part in (b"ok", b"more"):
        one_go.write(part)
    assert transport.sent == [HEAD + b"ok", b"more"]


def test_a_head_without_a_body_leaves_when_the_answer_is_complete():
    transport = Transport()
    one_go = OneGo(transport)
    one_go.write(HEAD)
    one_go.flush()
    one_go.flush()
    assert transport.sent == [HEAD]


def test_a_head_that_the_caller_waits_for_is_not_kept():
    transport = Transport()
    OneGo(transport).write(CONTINUE)
    assert transport.sent == [CONTINUE]


def test_nothing_is_kept_when_the_connection_closes():
    transport = Transport()
    one_go = OneGo(transport)
    one_go.write(HEAD)
    one_go.close()
    assert (transport.sent, transport.is_closed) == ([HEAD], True)


def test_a_body_that_looks_like_a_head_is_sent_all_the_same():
    transport = Transport()
    one_go = OneGo(transport)
    for part in (HEAD, HEAD, HEAD):
        one_go.write(part)
    one_go.flush()
    assert b"".join(transport.sent) == 3 * HEAD


def test_everything_else_is_the_transports():
    assert OneGo(Transport()).get_extra_info("peername") == "info on peername"
