"""A user's error. It has a file of its own for what runs before jax is imported; all else has it from `types`."""


class UserError(Exception):
    """An error that the user can fix. The message is one sentence: what is wrong, where, and what would work.

    Commands print it without a traceback and exit with its `status`; IPython prints it likewise.
    """

    status = 2

    def _render_traceback_(self) -> list[str]:
        return [f"error: {self}"]


class InterruptedRunError(UserError):
    """A fault from outside has ended a training run, such as a disk that is gone. The same command resumes it."""

    status = 75
