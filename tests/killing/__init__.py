"""Killing tfops at every step."""
