"""One command by several processes: parts of it, workers of a cluster, and what they come to."""
