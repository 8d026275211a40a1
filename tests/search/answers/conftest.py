"""The questions of the tests of planning are those of the answers, too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
