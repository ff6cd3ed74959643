"""The package under test is in the checkout and not in the wheel, so it comes last on the path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
