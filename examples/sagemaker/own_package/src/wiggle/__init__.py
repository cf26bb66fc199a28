"""A package of yours that no index has, installed with `pip install -e own_package`."""


def wiggle(x: float) -> float:
    """Give a function with a minimum at 0.25."""
    return (x - 0.25) ** 2
