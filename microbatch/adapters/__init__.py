"""Bridges to other libraries, one optional dependency for each module; none is imported here."""
