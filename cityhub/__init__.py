"""Puts the parts together: the command line, the embedded servers, the roles.

Alone imports all the others. Roles load when their command runs, so that ``--help`` is instant.
"""
