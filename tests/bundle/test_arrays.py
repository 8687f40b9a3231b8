import io
import struct
import zipfile

import numpy as np
import pytest

from rbm_bundle import BundleError
from rbm_bundle.arrays import MAX_HEADER_BYTES, ArraySpec, map_array, read_archive

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
SPEC = ArraySpec("float32", (4, 3))


def npy_of(array, version=(1, 0)):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows"


def write_archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)


def lie_about_size(path, size):
    """Both headers of the only member say that it expands to this."""
    raw = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", raw, raw.index(signature) + place, size)
    path.write_bytes(raw)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("array", [ROWS, np.asfortranarray(ROWS)], ids=["C", "Fortran"])
def test_a_sound_array_is_read_in_either_order_and_format(path, array, version):
    path.write_bytes(npy_of(array, version))
    np.testing.assert_array_equal(map_array(path, SPEC), ROWS)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        write_archive(path, [("rows.npy", npy_of(array, version))], method)
        np.testing.assert_array_equal(read_archive(path, {"rows": SPEC})["rows"], ROWS)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_an_array_of_no_bytes_is_read(path, shape):
    path.write_bytes(npy_of(np.zeros(shape, np.float32)))
    assert map_array(path, ArraySpec("float32", shape)).shape == shape


def test_a_member_is_read_no_further_than_its_shape_says(path, monkeypatch):
    taken = []
    read = zipfile.ZipExtFile.read

    def counted(member, size=-1):
        content = read(member, size)
        taken.append(len(content))
        return content

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    write_archive(path, [("rows.npy", npy_of(ROWS) + bytes(2**24))])
    with pytest.raises(BundleError, match="rows as bytes behind the array"):
        read_archive(path, {"rows": SPEC})
    assert 0 < sum(taken) <= MAX_HEADER_BYTES + ROWS.nbytes


@pytest.mark.parametrize("size", [0, 100, 2**31, 2**32 - 2])
def test_a_size_that_is_a_lie_is_refused(path, size):
    write_archive(path, [("rows.npy", npy_of(ROWS))])
    lie_about_size(path, size)
    with pytest.raises(BundleError, match="rows"):
        read_archive(path, {"rows": SPEC})


def test_a_size_that_hides_how_far_a_member_expands_is_refused(path):
    write_archive(path, [("rows.npy", npy_of(ROWS) + bytes(2**24))])
    lie_about_size(path, len(npy_of(ROWS)))
    with pytest.raises(BundleError, match="CRC"):
        read_archive(path, {"rows": SPEC})


def test_a_checksum_that_is_wrong_is_refused(path):
    write_archive(path, [("rows.npy", npy_of(ROWS))], zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[raw.index(ROWS.tobytes()) + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BundleError, match="CRC"):
        read_archive(path, {"rows": SPEC})


def test_an_archive_of_too_many_members_is_not_looked_through(path, monkeypatch):
    write_archive(path, [(f"{number}.npy", b"") for number in range(2000)])
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(BundleError, match="too many for them"):
        read_archive(path, {"rows": SPEC})


@pytest.mark.parametrize("name", ["rows", "../rows.npy", "/rows.npy", "rows.npy/"])
def test_a_member_of_another_name_is_refused(path, name):
    write_archive(path, [(name, npy_of(ROWS))])
    with pytest.raises(BundleError, match="rows"):
        read_archive(path, {"rows": SPEC})


def test_a_header_that_promises_more_than_the_file_holds_is_refused(path):
    path.write_bytes(npy_of(ROWS)[:-1])
    with pytest.raises(BundleError, match="no readable array"):
        map_array(path, SPEC)
    write_archive(path, [("rows.npy", npy_of(ROWS)[:-1])])
    with pytest.raises(BundleError, match="rows as no readable array"):
        read_archive(path, {"rows": SPEC})


def test_a_manifest_that_promises_as_much_as_the_header_changes_nothing(path):
    for rows in (10**12, 10**30):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 3), }}\n".encode()
        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(99)
        path.write_bytes(content)
        with pytest.raises(BundleError, match="no readable array"):
            map_array(path, ArraySpec("float32", (rows, 3)))
        write_archive(path, [("rows.npy", content)])
        with pytest.raises(BundleError, match="no readable"):
            read_archive(path, {"rows": ArraySpec("float32", (rows, 3))})


def test_an_array_in_place_of_an_archive_and_the_other_way_round_are_refused(path):
    path.write_bytes(npy_of(ROWS))
    with pytest.raises(BundleError, match="no readable archive"):
        read_archive(path, {"rows": SPEC})
    write_archive(path, [("rows.npy", npy_of(ROWS))])
    with pytest.raises(BundleError, match="no readable array"):
        map_array(path, SPEC)


def test_a_header_that_takes_a_gigabyte_is_not_read(path):
    path.write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 2**30) + b" " * 2**16)
    with pytest.raises(BundleError, match="no readable array"):
        map_array(path, SPEC)


def test_a_free_size_has_a_bound(path):
    spec = ArraySpec("float32", (4, None), free=3)
    path.write_bytes(npy_of(ROWS))
    assert map_array(path, spec).shape == (4, 3)
    path.write_bytes(npy_of(np.zeros((4, 5), np.float32)))
    with pytest.raises(BundleError, match=r"expected float32 of shape \(4, up to 3\), got float32 of shape"):
        map_array(path, spec)
