"""Whatever happens to a file on its way, it is read rightly or refused; no other error ever comes out."""

import gzip
import io
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.errors import InvalidData

ROWS = 40
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, 3)).astype(np.float32)
WORDS = np.array(["cat", "dög"] * (ROWS // 2))
CSV = "a,b,label\n" + "".join(f'{a:.3f},{i},"{word}"\n' for i, (a, word) in enumerate(zip(X[:, 0], WORDS, strict=True)))
JSONL = "".join(f'{{"x": [{a:.3f}, {i}], "label": "{word}"}}\n' for i, (a, word) in enumerate(zip(X[:, 0], WORDS, strict=True)))


def parquet(**options):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": list(X), "flag": X[:, 0] > 0, "label": WORDS}), buffer, **options)
    return buffer.getvalue()


@pytest.fixture(params=["packed.npz", "plain.npz", "a.csv.gz", "a.csv", "a.jsonl", "packed.parquet", "plain.parquet"])
def sound(request, npz):
    """The name and bytes of a good file of each kind."""
    contents = {
        "packed.npz": lambda: npz(x_train=X, y_train=WORDS, x_test=X, y_test=WORDS),
        "plain.npz": lambda: npz(compressed=False, x=X, y=WORDS),
        "a.csv.gz": lambda: gzip.compress(CSV.encode(), mtime=0),
        "a.csv": CSV.encode,
        "a.jsonl": JSONL.encode,
        "packed.parquet": lambda: parquet(compression="zstd", row_group_size=13, data_page_version="2.0"),
        "plain.parquet": lambda: parquet(compression="none", use_dictionary=False, store_schema=False, write_statistics=False),
    }
    return request.param, contents[request.param]()


def read_or_refuse(upload, name, content):
    """True where the file is read, and then as whole columns; False where it is refused with place and cure."""
    try:
        data = upload(name, content)
    except InvalidData as error:
        assert error.hint and error.param == "file"
        assert error.detail.isprintable() and len(error.detail) < 400
        return False
    for table in data.splits.values():
        assert {len(values) for values in table.columns.values()} == {table.rows}
        for values in table.columns.values():
            assert values.dtype.kind in "biufUO"
            assert values.dtype.kind != "f" or np.isfinite(values).all()
            values.tolist()
    data.columns()
    data.classes()
    return True


def test_the_sound_file_is_read(upload, sound):
    assert read_or_refuse(upload, *sound)


def test_cut_anywhere(upload, sound):
    name, content = sound
    step = max(1, len(content) // 150)
    outcomes = [read_or_refuse(upload, name, content[:size]) for size in range(0, len(content), step)]
    if name not in ("a.csv", "a.jsonl"):  # text cut at the end of a line is a shorter table, and nobody can tell
        assert not any(outcomes)


@pytest.mark.filterwarnings("ignore")  # numpy's parser warns of headers that look like Python 2's
def test_one_bit_flipped_anywhere(upload, sound):
    name, content = sound
    choice = random.Random(1)
    places = sorted(choice.sample(range(len(content)), min(400, len(content))))
    for place in places:
        broken = bytearray(content)
        broken[place] ^= 1 << choice.randrange(8)
        read_or_refuse(upload, name, bytes(broken))


@pytest.mark.filterwarnings("ignore")
def test_a_stretch_overwritten_anywhere(upload, sound):
    name, content = sound
    choice = random.Random(2)
    for _ in range(150):
        broken = bytearray(content)
        place = choice.randrange(len(content))
        stretch = choice.choice(
            [b"\xff" * 8, b"\0" * 8, choice.randbytes(6), b'"', b"\n", b",,", b"PK\x01\x02", b"PK\x05\x06", b"PAR1", b"-9", b"]", b"{"]
        )
        broken[place : place + len(stretch)] = stretch
        read_or_refuse(upload, name, bytes(broken))


def test_values_packed_with_a_checksum_are_never_read_wrong(upload, npz):
    """A flipped bit in the member's data is found, not learned from."""
    content = npz(x=X)
    start = content.index(b"x.npy") + 30
    choice = random.Random(3)
    for place in choice.sample(range(start, content.index(b"PK\x01\x02")), 100):
        broken = bytearray(content)
        broken[place] ^= 0x10
        assert not read_or_refuse(upload, "a.npz", bytes(broken))
