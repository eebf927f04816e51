"""Erasures: a patient's data deleted everywhere, and what is told of it afterwards."""
