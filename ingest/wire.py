"""MQTT packets, without any I/O."""
