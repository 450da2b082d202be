"""How much one file may hold. The bounds are checked before the bytes they bound are unpacked or allocated."""

from dataclasses import dataclass

from datafiles.refusal import refuse, size_text

TEXT_BYTES = 64  # what a short Python str takes, its pointer included
# Small files may unpack to anything up to this: a column of one repeated number rightly shrinks a thousandfold.
FREE_EXPANSION = 64 * 2**20


@dataclass(frozen=True)
class Limits:
    """`max_bytes` bounds the file unpacked and the arrays made of it, each on its own."""

    max_bytes: int = 4 * 2**30
    max_rows: int = 50_000_000
    max_columns: int = 10_000
    max_line_bytes: int = 10 * 2**20
    max_members: int = 64
    max_expansion: int = 200  # bytes unpacked for each byte uploaded, beyond the first FREE_EXPANSION

    def check_unpacked(self, unpacked: int, packed: int) -> None:
        """Refuses `packed` bytes that become `unpacked` ones: too many, or suspiciously many for so few."""
        if unpacked > self.max_bytes:
            detail = f"the file unpacks to {size_text(unpacked)} or more; at most {size_text(self.max_bytes)} are accepted"
            raise refuse(detail, "Split it into several files, or store smaller number types (uint8, float32).")
        if unpacked > FREE_EXPANSION and unpacked > packed * self.max_expansion:
            detail = f"{size_text(packed)} unpack to {size_text(unpacked)} or more: over {self.max_expansion} times the size"
            raise refuse(detail, "If the data really is so repetitive, upload it uncompressed (np.savez, or without .gz).")

    def check_arrays(self, size: int) -> None:
        if size > self.max_bytes:
            detail = f"its values take {size_text(size)} or more as arrays; at most {size_text(self.max_bytes)} are accepted"
            raise refuse(detail, "Split it into several files, or use .npz with small number types (uint8, float32).")

    def check_rows(self, rows: int) -> None:
        if rows > self.max_rows:
            raise refuse(f"the file has more than {self.max_rows:,} rows", "Split it into several files, or take a sample.")

    def check_columns(self, count: int) -> None:
        if count > self.max_columns:
            raise refuse(f"there are {count:,} columns; at most {self.max_columns:,} are accepted", "Use .npz with one array column.")
