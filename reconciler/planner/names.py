"""Words that several files of the planner share."""

from __future__ import annotations

ROOT = "root"
"""The user's name of the disk that a machine boots from."""
