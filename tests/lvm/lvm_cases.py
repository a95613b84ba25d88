"""The recorded LVM cases for tests: ``@every_lvm_case`` runs a test for each, with its name as ``case``."""

from __future__ import annotations

import pytest

from dmsnap.testing.lvm_fixtures import LVMFixture, load_lvm_fixture, lvm_fixture_names

__all__ = ["LVMFixture", "every_lvm_case", "load_lvm_fixture"]

every_lvm_case = pytest.mark.parametrize("case", lvm_fixture_names())
