"""Rows for training: from built-in sets and checked files to tensors with splits."""

from distill.data.load import Data, Split, load

__all__ = ["Data", "Split", "load"]
