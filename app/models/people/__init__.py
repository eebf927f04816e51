"""Accounts, sign-ins, tokens, and who owns what."""
