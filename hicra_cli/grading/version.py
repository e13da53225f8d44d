"""The version of grading: part of every result and of every cache key, raised with each change of a verdict."""

GRADER_VERSION = "2"
