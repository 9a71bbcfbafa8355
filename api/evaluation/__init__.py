"""Evaluation (综合评价): how well cases are handled, and how healthy the alarms are.

Lives here: the facts read from the tables, each indicator with its formula, alarm health after
ISA-18.2 and EEMUA 191, and the monthly bulletin. Figures are plain functions of facts; only
publishing a bulletin writes. May enter: figures that a formula in both languages can state.
"""
