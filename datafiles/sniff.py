"""What a file really is, by its first bytes: for the refusal of one whose name says something else."""

from datafiles.refusal import refuse

HEAD = 512  # bytes enough for every mark below

_MARKS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK", "a zip archive (.npz and .xlsx files are such)"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x93NUMPY", "a single .npy array"),
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow/Feather"),
    (b"\x89HDF", "HDF5"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_PICKLES = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def looks_like(head: bytes) -> str:
    for mark, kind in _MARKS:
        if head.startswith(mark):
            return kind
    if head.startswith(_PICKLES):
        return "a Python pickle"
    return "unknown binary data" if b"\0" in head else "text"


def require_text(head: bytes, ending: str) -> None:
    """Refuses a file that is no text at all; text that is not UTF-8 further down is its reader's to find."""
    kind = looks_like(head)
    if kind != "text":
        raise refuse(
            f"the file says {ending} but starts like {kind}", f"Upload UTF-8 text, or give the file the ending of what it is, not {ending}."
        )
