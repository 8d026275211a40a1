"""Readers of recorded traffic: every public trace of LLM serving, and files of one's own."""

from tokenroof.workload.readers.azure import Azure as Azure
from tokenroof.workload.readers.builtin import builtin_traces as builtin_traces
from tokenroof.workload.readers.burstgpt import BurstGpt as BurstGpt
from tokenroof.workload.readers.core import Dropped as Dropped
from tokenroof.workload.readers.core import ReadWorkload as ReadWorkload
from tokenroof.workload.readers.core import Trace as Trace
from tokenroof.workload.readers.core import TraceFormat as TraceFormat
from tokenroof.workload.readers.detect import FORMATS as FORMATS
from tokenroof.workload.readers.detect import read_trace as read_trace
from tokenroof.workload.readers.llmservingsim import LlmServingSim as LlmServingSim
from tokenroof.workload.readers.measured import Measured as Measured
from tokenroof.workload.readers.mooncake import Mooncake as Mooncake
from tokenroof.workload.readers.own import Own as Own
from tokenroof.workload.readers.servegen import ServeGen as ServeGen
from tokenroof.workload.readers.servegen_draw import ServeGenClients as ServeGenClients
from tokenroof.workload.readers.sharegpt import PerCharacter as PerCharacter
from tokenroof.workload.readers.sharegpt import PerWord as PerWord
from tokenroof.workload.readers.sharegpt import ShareGpt as ShareGpt
from tokenroof.workload.readers.vidur import Vidur as Vidur
from tokenroof.workload.readers.write import write_requests as write_requests
