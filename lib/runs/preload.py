"""What the server of workers imports once, so that each worker begins with it."""

import torch._dynamo  # noqa: F401  torch.optim imports it at the first step, slowly

import lib.runs.pool  # noqa: F401
from lib.support.machine import code_version

code_version()  # of the code that the workers run, even if the files change before a worker begins
