"""Figures and their intervals: of classifiers, of synthetic ROIs, of readers. Arithmetic alone.

Modules say ``import scipy``, which loads its parts when they are first used: ``scipy.stats``
takes a second, and the web application would spend it at every start.
"""
