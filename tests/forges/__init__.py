"""Forges of our own for tests: real HTTP on 127.0.0.1 over a real bare Git repository."""
