"""Callers and how they prove who they are: accounts, credential scopes, Signature Version 4."""
