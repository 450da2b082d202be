"""Uploaded files to checked columns of arrays: .npz, .csv, .jsonl and .parquet, the API's check and the engine's reader in one."""

from datafiles.labels import encode_labels, encode_lists
from datafiles.limits import Limits
from datafiles.reader import FORMATS, read
from datafiles.table import DataFile, Table

__all__ = ["FORMATS", "DataFile", "Limits", "Table", "encode_labels", "encode_lists", "read"]
