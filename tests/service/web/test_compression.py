import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbm_service.errors import InvalidRequestError, PayloadTooLargeError, UnsupportedMediaTypeError
from rbm_service.web.compression import accepted_encoding, compress, encoding_of, expand

ENCODINGS = ["gzip", "deflate"]
BY_OTHERS = {"gzip": gzip.compress, "deflate": zlib.compress}
EXPANDED_BY_OTHERS = {"gzip": gzip.decompress, "deflate": zlib.decompress}


@given(st.binary(max_size=2000), st.sampled_from(ENCODINGS))
def test_what_others_compress_is_expanded_and_the_other_way_round(body, encoding):
    assert expand(BY_OTHERS[encoding](body), encoding, len(body)) == body
    assert EXPANDED_BY_OTHERS[encoding](compress(body, encoding)) == body


@given(st.binary(max_size=200), st.sampled_from(ENCODINGS))
def test_bytes_that_are_not_compressed_are_refused_as_such(body, encoding):
    with pytest.raises(InvalidRequestError, match=f"not valid {encoding}"):
        expand(b"\x00" + body, encoding, 10_000)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_may_be_as_long_as_allowed_and_no_byte_longer(encoding):
    body = BY_OTHERS[encoding](b"x" * 1000)
    assert len(expand(body, encoding, 1000)) == 1000
    with pytest.raises(PayloadTooLargeError, match="999 bytes"):
        expand(body, encoding, 999)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_refused_before_it_is_expanded(encoding, monkeypatch):
    bomb = BY_OTHERS[encoding](bytes(20_000_000))
    made = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, wbits):
            self.stream = real(wbits)

        def decompress(self, data, max_length):
            made.append(self.stream.decompress(data, max_length))
            return made[-1]

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(PayloadTooLargeError):
        expand(bomb, encoding, 1000)
    assert sum(map(len, made)) <= 1001


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_that_is_cut_off_or_goes_on_is_refused(encoding):
    body = BY_OTHERS[encoding](b"x" * 1000)
    with pytest.raises(InvalidRequestError, match="cut off"):
        expand(body[:-1], encoding, 1000)
    with pytest.raises(InvalidRequestError, match="goes on"):
        expand(body + body, encoding, 10_000)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [(b"", None), (b"identity", None), (b"gzip", "gzip"), (b" GZip ", "gzip"), (b"deflate", "deflate")],
)
def test_an_encoding_is_read_from_its_header(header, encoding):
    assert encoding_of(header) == encoding


@pytest.mark.parametrize("header", [b"br", b"gzip, gzip", b"\xff"])
def test_another_encoding_is_refused(header):
    with pytest.raises(UnsupportedMediaTypeError):
        encoding_of(header)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (b"", None),
        (b"identity", None),
        (b"br", None),
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"deflate, gzip;q=0.5", "gzip"),
        (b"gzip; q=0, deflate", "deflate"),
        (b"gzip;q=0.000", None),
        (b"gzip;q=0.001", "gzip"),
    ],
)
def test_answers_are_encoded_as_the_caller_accepts(header, encoding):
    assert accepted_encoding(header) == encoding
