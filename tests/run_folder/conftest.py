"""These tests run the command line with a fake worker."""

from tests.support.runs import (
    _import_from_the_checkout,
    _invented_peaks_are_not_remembered,
    _no_doctor,
    behave,
    prepare,
    start,
)

__all__ = [
    "_import_from_the_checkout",
    "_invented_peaks_are_not_remembered",
    "_no_doctor",
    "behave",
    "prepare",
    "start",
]
