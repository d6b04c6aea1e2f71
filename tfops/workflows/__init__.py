"""One file per verb; each reads as its story."""
