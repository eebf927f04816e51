"""The web application of Hepatica.

A staircase, read downwards: ``__main__`` → ``main``, ``worker`` → ``routes`` → ``auth``,
``inference`` → ``responses`` → ``models`` → ``db`` → ``errors``, ``settings``; each step between
is in ``pyproject.toml``. Routes are thin, models are rich, and nothing below knows what stands
above it. The science is in ``ml``, which never imports ``app``.
"""
