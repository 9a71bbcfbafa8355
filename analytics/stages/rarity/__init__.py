"""Multi-scale rarity: how seldom did this series behave so, on any time scale?

Lives here: one detector in two forms. ``form`` holds the numbers, ``memory`` what is kept of a
series, ``kernel`` the step of many series at once, ``stage`` makes findings of scores, and
``sentence`` says them in words.
"""

from analytics.stages.rarity.form import FULL, LITE, Form
from analytics.stages.rarity.stage import Pace, Rarity, Watcher

__all__ = ["FULL", "LITE", "Form", "Pace", "Rarity", "Watcher"]
