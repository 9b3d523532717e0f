"""The one error of the ground floor."""


class SpecError(ValueError):
    """A parameter, file or trace that cannot be used; the message names place, value and what is valid."""
