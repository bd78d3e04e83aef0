"""These tests run the command line with a fake worker: its fixtures."""

from tests.support.runs import *  # noqa: F403
