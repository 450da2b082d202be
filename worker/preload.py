"""Imported once by the fork server, so that a trainer starts in milliseconds. Imports only: a tensor operation here would start
threads that do not survive the fork and hang every trainer."""

import atexit
import os
import signal

import torch._dynamo  # optimisers import it at their first step
import torch.optim

import distill.train
import worker.trainer

LOADED = (torch._dynamo, torch.optim, distill.train, worker.trainer)

signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal tells everyone at once; trainers are asked to leave by the worker
atexit.register(os._exit, 0)  # when its worker is gone it is to be gone too: taking torch apart properly takes seconds
