"""One file per neighbour: what touches the world."""
