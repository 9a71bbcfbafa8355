"""What staff and other systems see: REST, the live feed, the page without scripts.

Lives here: the FastAPI application, who may call what, the queries behind the screens, the feed of
the event log, and ``/lite``. May enter: what shows the tables to people and programs. Writes no
table of its own but ``audit`` (logins, refusals) and ``idempotency``: staff actions are injected.
"""
