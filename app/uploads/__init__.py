"""What is sent in files: read by processes that can do nothing else, and told to the others.

``decoder`` is such a process. It and what it imports know nothing of the web or the database.
"""
