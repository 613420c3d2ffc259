"""What Ctrl-C looks like from inside."""


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C lies behind an error: a library that was being imported may turn it into one of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
