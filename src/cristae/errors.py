"""Every error a user can cause, as one tree.

An error says where, what was found, what was expected and what to do next. The command line prints it without a
traceback and leaves with its `exit_code`.
"""


class CristaeError(Exception):
    """Base of all errors that Cristae raises on purpose."""

    exit_code = 2


class VolumeError(CristaeError, ValueError):
    """A volume, or the way its parts fit together, is not usable."""


class FormatError(VolumeError):
    """A file is truncated, corrupt, empty, or not what its name says."""


class ChannelError(FormatError):
    """A file holds several channels and none is chosen, or the chosen one is not there."""

    def __init__(self, message: str, channels: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.channels = channels
        """Names of the channels of the file, '' where they have none."""


class VoxelSizeError(VolumeError):
    """A voxel size is missing where it matters, or two of them disagree."""


class LabelError(VolumeError):
    """Label values, label files or masks do not fit the classes or the image."""


class MissingFileError(CristaeError, FileNotFoundError):
    """A file or folder that was named does not exist."""


class RecipeError(CristaeError, ValueError):
    """A recipe is not valid; the message starts with file:line."""


class RunError(CristaeError, ValueError):
    """A run folder is incomplete, or does not fit what it is asked to do."""


class OutputExistsError(CristaeError, FileExistsError):
    """The output place already holds something that must not be overwritten."""


class DownloadError(CristaeError, OSError):
    """A data set could not be fetched or failed its checksum."""


class ScoreError(CristaeError, ValueError):
    """Truth and prediction cannot be compared."""


class NetworkError(CristaeError, ValueError):
    """A network cannot be built or cannot take this input."""


class StorageError(CristaeError, OSError):
    """Writing failed: the disk is full or the place may not be written."""

    exit_code = 1


class TrainingError(CristaeError, RuntimeError):
    """Training cannot continue, for instance because the loss is not finite."""

    exit_code = 1


class BenchmarkError(CristaeError, RuntimeError):
    """Jobs of a benchmark failed; the others are finished."""

    exit_code = 1


class ClusterError(CristaeError, RuntimeError):
    """Workers cannot be had, do not fit this installation, or are described wrongly."""
