"""What esegeta takes, against captum over MONAI's inference, bare networks and its own methods.

`python -m benchmarks --help` lists the rows. Every contender runs alone in a process of its own.
"""
