"""The outer form of a message: who sent it, when, under which counter."""
