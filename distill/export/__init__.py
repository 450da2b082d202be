"""A trained network as ONNX: written, quantised, run by onnxruntime and compared with the original. The libraries are an extra of their own
and are imported when a job asks for them."""

from distill.export.card import section
from distill.export.files import INT8, PLAIN, need, quantised, written
from distill.export.parity import Parity, compared
from distill.export.running import running

__all__ = ["INT8", "PLAIN", "Parity", "compared", "need", "quantised", "running", "section", "written"]
