"""The functions behind the verbs: each opens what it is given, does one thing and lets go again.

They stand above every other floor but the command line, and take paths as well as devices.
"""
