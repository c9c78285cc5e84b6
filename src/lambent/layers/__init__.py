"""Layers: immutable numbered versions of archives, shared by policies, seen by functions at /opt."""
