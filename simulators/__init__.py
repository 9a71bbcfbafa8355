"""Devices that do not exist, in a city that does not either, and the platform behind them.

Lives here: resting devices of every kind, the schematic city, simple physics, scenes, the fleet
that publishes them over real MQTT, and the stand-in for the city-management platform. May enter:
what speaks to the hub as a device or as the city does, from outside. Never reads or writes the
hub's tables; chance is always seeded.
"""
