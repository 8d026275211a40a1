"""Readers of result files: what benchmark clients of LLM servers write, as rows of one table."""

from tokenroof.calibrate.readers.core import COLUMNS as COLUMNS
from tokenroof.calibrate.readers.core import ResultRow as ResultRow
from tokenroof.calibrate.readers.detect import FORMATS as FORMATS
from tokenroof.calibrate.readers.detect import read_results as read_results
