"""A classifier in use: what it said month by month, who agreed, and what it is worth here."""
