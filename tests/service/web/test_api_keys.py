import hashlib
import hmac
import os

import pytest

from rbm_service.errors import ForbiddenError, NotFoundError, UnauthorizedError
from rbm_service.web.api_keys import KeyFileError, KeyRing, new_key, read_admin_key, read_api_keys


def digest_of(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer(secret):
    return {b"authorization": b"Bearer " + secret.encode()}


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def ring(write):
    api = "".join(f"{name} {digest_of(name + '-secret')}\n" for name in ("web", "mobile", "batch"))
    return KeyRing(write("api", api), write("admin", digest_of("admin-secret")))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_is_taken_from_either_header_and_known_by_its_name(ring, scheme):
    in_scheme = {b"authorization": f"{scheme} mobile-secret".encode()}
    assert ring.authorize(in_scheme, "/classify") == "mobile"
    assert ring.authorize({b"x-api-key": b"batch-secret"}, "/classify") == "batch"
    basic = {b"authorization": b"Basic d2ViOg==", b"x-api-key": b"web-secret"}
    assert ring.authorize(basic, "/classify") == "web"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"x-api-key": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"web-secret"},
        {b"authorization": b"Basic web-secret"},
        {b"authorization": b"Bearer web-secret x"},
        {b"x-api-key": b"WEB-SECRET"},
        {b"x-api-key": digest_of("web-secret").encode()},
        {b"x-api-key": b"\xff\x00"},
        {b"x-api-key": b"x" * 100_000},
    ],
)
def test_anything_else_is_unauthorized(ring, headers):
    with pytest.raises(UnauthorizedError) as refusal:
        ring.authorize(headers, "/classify")
    assert refusal.value.headers == {"WWW-Authenticate": "Bearer"}
    assert "secret" not in refusal.value.detail


def test_without_files_everything_is_open_and_nothing_is_the_admins():
    ring = KeyRing()
    assert ring.authorize({}, "/classify") is None
    for path in ("/admin/models", "/v2/repository/index"):
        with pytest.raises(NotFoundError):
            ring.authorize(bearer("web-secret"), path)


def test_an_admin_key_alone_leaves_the_rest_open(write):
    ring = KeyRing(None, write("admin", digest_of("admin-secret")))
    assert ring.authorize({}, "/classify") is None
    with pytest.raises(UnauthorizedError):
        ring.authorize({}, "/admin/models")
    assert ring.authorize(bearer("admin-secret"), "/admin/models") == "admin"


@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/models/tiny", "/v2/repository/index"])
def test_only_the_admin_key_opens_what_is_the_admins(ring, path):
    assert ring.authorize(bearer("admin-secret"), path) == "admin"
    with pytest.raises(ForbiddenError):
        ring.authorize(bearer("web-secret"), path)
    with pytest.raises(UnauthorizedError):
        ring.authorize(bearer("guess"), path)


@pytest.mark.parametrize(
    "path", ["/administrator", "/v2/repositories", "/v2/models/tiny", "/info", "/consoles", ""]
)
def test_every_other_path_needs_a_key_of_either_kind(ring, path):
    with pytest.raises(UnauthorizedError):
        ring.authorize({}, path)
    assert ring.authorize(bearer("web-secret"), path) == "web"
    assert ring.authorize(bearer("admin-secret"), path) == "admin"


@pytest.mark.parametrize("secret", ["web-secret", "batch-secret", "admin-secret", "guess"])
def test_a_secret_is_compared_with_every_key_in_constant_time(ring, monkeypatch, secret):
    compare, compared = hmac.compare_digest, []

    def watch(ours, theirs):
        compared.append((ours.hex(), theirs.hex()))
        return compare(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    try:
        ring.authorize(bearer(secret), "/classify")
    except UnauthorizedError:
        assert secret == "guess"
    known = ["web-secret", "mobile-secret", "batch-secret", "admin-secret"]
    assert compared == [(digest_of(name), digest_of(secret)) for name in known]


def test_comments_and_blank_lines_hold_no_keys(write):
    path = write("api", f"# ours\n\n  web\t{digest_of('a')}  # since May\r\n#old {digest_of('b')}\n")
    assert read_api_keys(path) == {bytes.fromhex(digest_of("a")): "web"}
    assert read_admin_key(write("admin", f"# ours\n\n{digest_of('c')}\n")).hex() == digest_of("c")


LINE = f"web {digest_of('a')}\n"
SECRET = "dGhlIHNlY3JldCwgYnkgbWlzdGFrZSwgaW4gYSBmaWw"  # as long as those of `new_key`


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected one key at least, got none"),
        ("# nobody\n\n", "expected one key at least, got none"),
        (f"{LINE}{SECRET}\n", "line 2: expected a name and a SHA-256"),
        (f"web {SECRET}\n", "line 1: expected a name and a SHA-256"),
        (f"{SECRET} {digest_of('a')}\n", "line 1: expected a name and a SHA-256"),
        (f"web {digest_of('a')} {SECRET}\n", "line 1: expected a name and a SHA-256"),
        (f"{LINE}\nmobile {digest_of('b')[1:]}\n", "line 3: expected a name and a SHA-256"),
        (f"{LINE}mobile {digest_of('b').upper()}\n", "line 2: expected a name and a SHA-256"),
        (f"caf\xe9 {digest_of('b')}\n", "line 1: expected a name and a SHA-256"),
        (f"{LINE}web {digest_of('b')}\n", "line 2: the name web is taken"),
        (f"admin {digest_of('b')}\n", "line 1: the name admin is taken"),
        (f"{LINE}mobile {digest_of('a')}\n", "line 2: this key has a name already"),
    ],
)
def test_a_file_that_is_not_right_is_refused_by_line_and_not_quoted(write, text, complaint):
    path = write("api", text)
    with pytest.raises(KeyFileError) as refusal:
        read_api_keys(path)
    assert str(refusal.value).startswith(str(path))
    assert complaint in str(refusal.value)
    assert SECRET not in str(refusal.value)
    assert digest_of("a") not in str(refusal.value)


def test_bytes_that_are_no_text_are_a_malformed_line(tmp_path):
    path = tmp_path / "api"
    path.write_bytes(LINE.encode() + b"\xff\xfe\x00\n")
    with pytest.raises(KeyFileError, match="line 2: expected"):
        read_api_keys(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected one line, got 0"),
        (f"{digest_of('a')}\n{digest_of('b')}\n", "expected one line, got 2"),
        (f"admin {digest_of('a')}\n", "line 1: expected a SHA-256"),
        (f"# the secret, by mistake\n{SECRET}\n", "line 2: expected a SHA-256"),
    ],
)
def test_an_admin_key_file_holds_one_digest_and_nothing_else(write, text, complaint):
    with pytest.raises(KeyFileError, match=complaint) as refusal:
        read_admin_key(write("admin", text))
    assert SECRET not in str(refusal.value)


def test_a_new_key_fits_its_file_and_no_two_are_alike(write):
    secret, line = new_key("web")
    other, _ = new_key("web")
    admin, admin_line = new_key("admin")
    ring = KeyRing(write("api", line), write("admin", admin_line))
    assert ring.authorize(bearer(secret), "/classify") == "web"
    assert ring.authorize(bearer(admin), "/admin") == "admin"
    assert len({secret, other, admin}) == 3
    assert len(secret) >= 43


def test_keys_are_read_anew_and_stay_as_they_were_when_the_file_is_not_right(write):
    path = write("api", LINE)
    ring = KeyRing(path)
    path.write_text(f"mobile {digest_of('b')}\n")
    ring.read()
    assert ring.authorize(bearer("b"), "/classify") == "mobile"
    with pytest.raises(UnauthorizedError):
        ring.authorize(bearer("a"), "/classify")
    path.write_text("")
    with pytest.raises(KeyFileError):
        ring.read()
    assert ring.authorize(bearer("b"), "/classify") == "mobile"


@pytest.mark.parametrize("read", [read_api_keys, read_admin_key])
def test_what_is_no_plain_file_or_has_no_end_is_refused_and_waited_for_by_nobody(tmp_path, read):
    pipe, endless = tmp_path / "pipe", tmp_path / "endless"
    os.mkfifo(pipe)
    endless.touch()
    os.truncate(endless, 2**30)
    for path, complaint in [(pipe, "not a plain file"), (tmp_path, "not a plain"), (endless, "more than")]:
        with pytest.raises(OSError, match=complaint):
            read(path)
