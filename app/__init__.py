"""The web application of Hepatica.

A staircase, read downwards: ``__main__`` → ``main`` → ``routes`` → ``inference``, ``auth``,
``responses`` → ``models`` → ``errors`` → ``db`` → ``settings``. Routes are thin, models are rich,
and nothing below knows what stands above it. The science is in ``ml``, which never imports ``app``.
"""
