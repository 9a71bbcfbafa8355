"""Back-tests (回测): the stages of service over files, so that anyone can judge them.

Lives here: the driver, which is pure; what reads files of readings into batches; what makes one
line of each episode; how labelled streams are scored. May enter: further forms of files, further
suites. No stage is written twice for it: what is judged is what runs.
"""

from analytics.backtest.drive import replay

__all__ = ["replay"]
