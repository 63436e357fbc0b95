"""Let the tests import the benchmarks, which are scripts in a folder of their own."""

import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
