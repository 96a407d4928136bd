"""Errors that a user can act on: each says what was expected, what was found and what to do next."""


class AwingError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(AwingError, ValueError):
    """A configuration that cannot work, found before any data is read."""


class DataError(AwingError):
    """A data set's file is missing, broken or not in its official format."""


class CheckpointError(AwingError):
    """A checkpoint that cannot be read, or does not fit what it is used for."""
