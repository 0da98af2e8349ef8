"""Models that were logged before there was `ni_platform.registry` load this module by its name."""

from ni_platform.registry.served_pictures import PICTURES, ServedPictures

__all__ = ["PICTURES", "ServedPictures"]
