"""The checker of annotations in tests: beartype, where an int will do for a float as in mypy."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
