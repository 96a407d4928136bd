"""Experiments: training, evaluation, and their command lines."""
