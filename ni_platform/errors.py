"""Errors that a user can act on.

Each message states the rule, the offending value and the remedy. The command line prints it
without a traceback and exits with `exit_code`; anything that is not an `NiError` is a defect.
"""


class NiError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: the message says all."""
        return [f"{type(self).__name__}: {self}"]


class DatasetError(NiError):
    """A dataset folder, table, picture or split that cannot be used as it is."""


class ImageError(DatasetError):
    """A picture that is missing, does not decode or is too large to decode safely."""


class ChecksFailedError(NiError):
    """Data checks failed and were not allowed to."""

    exit_code = 2


class ConfigError(NiError):
    """An experiment name, config path or config value that does not exist or does not fit."""


class WeightsError(NiError):
    """Pretrained weights that cannot be reached."""


class TrainingError(NiError):
    """Training that cannot go on, such as a loss that is not finite."""


class TrackingError(NiError):
    """A tracking server, run or registered model that cannot be reached or read."""


class ClusterError(NiError):
    """A Ray cluster that cannot be reached, refuses its user or lacks what a job needs."""


class BusyError(NiError):
    """A run, table or model that another command is working on."""


class PromotionRefusedError(NiError):
    """A promotion gate did not pass."""


class ContentError(NiError):
    """A content, an edit or an upload of the dashboard that cannot be used as it is."""


class TooLargeError(ContentError):
    """An upload or a request that has more bytes than are read."""


def in_words(error: BaseException) -> str:
    """Return an error in words: the message of one that is meant for the user, else its kind too.

    The text of a KeyError, say, is a key, and that of an assertion nothing at all.
    """
    return str(error) if isinstance(error, NiError) else f"{type(error).__name__}: {error}"


def clause(error: object) -> str:
    """Return the text of an error, or of a reason, as part of a sentence: without its full stop."""
    text = str(error).rstrip()
    return text if text.endswith("..") else text.removesuffix(".")
