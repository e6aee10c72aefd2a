"""The yardstick: what the commands write, before and after the inside of the package changes."""
