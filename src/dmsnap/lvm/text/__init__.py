"""The text that LVM2 writes its metadata and settings in (lvm.conf(5), SYNTAX): a grammar, without what it means."""

from .bad_text import BadText
from .parsing import parse_text
from .section import Scalar, Section, Value

__all__ = ["BadText", "Scalar", "Section", "Value", "parse_text"]
