"""Rows for training: from built-in sets and checked files to tensors with splits."""

from distill.data.batch import Batch
from distill.data.load import Data, load
from distill.data.rows import Rows, Split, TextSplit

__all__ = ["Batch", "Data", "Rows", "Split", "TextSplit", "load"]
