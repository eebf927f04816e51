"""Decimal strings (PS3.5 6.2, DS): what Python takes for a number beyond them is none."""

from __future__ import annotations

import re

DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Without the spaces that pad it."""
