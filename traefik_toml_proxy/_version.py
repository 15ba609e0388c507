"""The version of this package; the build reads it here. Pure."""

__version__ = "0.1.0"
