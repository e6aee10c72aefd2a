"""'Why this voxel?': a local page on which a click explains what was predicted there."""

from esegeta.view.session import QUICK, Session, open_session

__all__ = ["QUICK", "Session", "open_session"]
