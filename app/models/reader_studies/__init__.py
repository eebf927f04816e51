"""Blinded readings: how a study is composed, frozen, staffed, and read at the desk."""
