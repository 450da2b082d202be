"""Archives that are broken, crafted or not archives at all: refused before anything is unpacked or allocated."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from datafiles import Limits

X = np.arange(6, dtype=np.float32).reshape(3, 2)
HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x93NUMPY\x01\0", "a single .npy array"),
        (b"\x80\x04\x95", "a Python pickle"),
        (b"a,b\n1,2\n", "text"),
        (b"\x01\x00\x02", "unknown binary data"),
    ],
)
def test_what_is_no_zip_is_called_what_it_is(refusal, content, kind):
    assert refusal("a.npz", content) == f"the file says .npz but is not a zip archive; it starts like {kind}"


def test_an_archive_cut_short_is_refused(refusal, npz):
    assert "the zip archive is damaged" in refusal("a.npz", npz(x=X)[:-30])
    assert "the zip archive is damaged" in refusal("a.npz", b"PK\x03\x04")


def test_flipped_values_are_found_by_the_checksum(refusal, npz):
    content = bytearray(npz(compressed=False, x_train=X))
    content[content.index(X.tobytes()) + 2] ^= 1
    assert "`x_train.npy` is damaged: Bad CRC-32" in refusal("a.npz", bytes(content))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["../x.npy"], "`../x.npy` lies in a folder"),
        (["a\\x.npy"], "`a\\x.npy` lies in a folder"),
        (["x.npy", "README.md"], "`README.md` is not a .npy array"),
        (["x.npy", "x_train.npy"], "`x.npy` and `x_train.npy` are both column `x` of split train"),
        (["x_train.npy", "x_val.npy", "x_validation.npy"], "`x_val.npy` and `x_validation.npy` are both"),
        (["x_test.npy", "y_test.npy"], "no train split, only `x_test.npy`, `y_test.npy`"),
        (["_train.npy"], "column 1 has no name"),
        (["x" * 201 + ".npy"], "longer than 200 characters"),
        (["x\x1b[2J.npy"], r"`x\x1b[2J`, has control characters"),
        ([], "holds no arrays"),
    ],
)
def test_member_names_that_are_no_columns_are_refused(refusal, archive, npy, names, said):
    assert said in refusal("a.npz", archive(dict.fromkeys(names, npy(HEADER, X.tobytes()))))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(refusal, npy):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.npy", npy(HEADER, X.tobytes()))
        file.writestr("x.npy", npy(HEADER, X.tobytes()))
    assert "`x.npy` and `x.npy` are both column `x`" in refusal("a.npz", buffer.getvalue())


def test_members_are_bounded(refusal, archive, npz):
    assert "65 members; at most 64" in refusal("a.npz", archive({f"c{i}.npy": b"" for i in range(65)}))
    assert "2 columns; at most 1" in refusal("a.npz", npz(x=X, y=X), Limits(max_columns=1))


def test_a_directory_of_very_many_members_is_not_even_read(refusal, archive):
    content = archive({f"member{i:060}": b"" for i in range(12_000)}, zipfile.ZIP_STORED)
    assert "its directory is too long" in refusal("a.npz", content)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(refusal, archive, npy, method):
    assert "`x.npy` is compressed by a method other than deflate" in refusal("a.npz", archive({"x.npy": npy(HEADER, X.tobytes())}, method))


def test_encrypted_members_are_refused(refusal, npz):
    content = bytearray(npz(x=X))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "`x.npy` is encrypted" in refusal("a.npz", bytes(content))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, -2), }\n", "impossible shape `(3, -2)`"),
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296), }\n",
            "declares 316,912,650,057,057,350,374,175,801,344 bytes",
        ),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**40},), }}\n", "impossible shape"),
        (f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'1, ' * 60}), }}\n", "impossible shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }\n", "declares 36 bytes of values (shape [3, 3]) but holds 24"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", "declares 16 bytes of values (shape [2, 2]) but holds 24"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", "pickled Python objects"),
        ("{'descr': '<U0', 'fortran_order': False, 'shape': (3,), }\n", "`<U0` values"),
        ("{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (3,), }\n", "values"),
        ("{'descr': (), 'fortran_order': False, 'shape': (3,), }\n", "header of `x.npy` cannot be read"),
        ("{'descr': '<f4', 'shape': (3, 2), }\n", "header of `x.npy` cannot be read"),
        ("__import__('os').getcwd()\n", "header of `x.npy` cannot be read"),
        ("(" * 3000 + "\n", "header of `x.npy` cannot be read"),
        ("-" * 3000 + "1\n", "header of `x.npy` cannot be read"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }" + " " * 5000, "header of 5,0"),
    ],
)
def test_headers_that_lie_are_refused(refusal, archive, npy, header, said):
    detail = refusal("a.npz", archive({"x.npy": npy(header, X.tobytes())}))
    assert "`x.npy`" in detail
    assert said in detail


def test_what_is_no_npy_inside_is_refused(refusal, archive, npy):
    assert "`x.npy` is not a .npy array" in refusal("a.npz", archive({"x.npy": b"hello world"}))
    assert "`x.npy` is not a .npy array" in refusal("a.npz", archive({"x.npy": b""}))
    assert "`x.npy` has .npy version 3.0" in refusal("a.npz", archive({"x.npy": npy(HEADER, version=(3, 0))}))
    assert "header of 4,294,967,295 bytes" in refusal("a.npz", archive({"x.npy": npy(HEADER, version=(2, 0), length=2**32 - 1)}))
    assert "header of `x.npy` cannot be read" in refusal("a.npz", archive({"x.npy": npy(HEADER, length=500)}))


def test_bytes_that_are_no_values_are_refused(refusal, archive, npy):
    flags = npy("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }\n", b"\0\1\2")
    assert "row 3 of `x.npy` is not valid true/false" in refusal("a.npz", archive({"x.npy": flags}))
    for codes in ([65, 0xD800], [65, 0x110000], [0, 65]):
        text = npy("{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }\n", struct.pack("<4I", 65, 66, *codes))
        assert "row 2 of `x.npy` is not valid text" in refusal("a.npz", archive({"x.npy": text}))


def test_a_bomb_is_refused_by_its_size_without_unpacking_it(refusal, npz):
    content = npz(x=np.zeros((100, 2**20), dtype=np.uint8))
    tracemalloc.start()
    assert "100 MiB or more: over 200 times the size" in refusal("a.npz", content)
    assert "unpacks to 100 MiB or more; at most 10 MiB" in refusal("a.npz", content, Limits(max_bytes=10 * 2**20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_a_small_file_may_shrink_as_it_likes(upload, npz):
    assert upload("a.npz", npz(x=np.zeros((10, 2**20), dtype=np.uint8))).splits["train"].rows == 10


def test_a_directory_that_lies_about_sizes_is_refused(refusal, archive, npy):
    """The directory says 4,000 bytes more than the member unpacks to, and the array's header agrees with the lie."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (4024,), }\n"
    content = bytearray(archive({"x.npy": npy(header, bytes(24))}))
    place = content.index(b"PK\x01\x02") + 24
    (size,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, place, size + 4000)
    detail = refusal("a.npz", bytes(content))
    assert "`x.npy`" in detail
    assert "ends after" in detail or "damaged" in detail
