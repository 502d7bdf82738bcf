"""
The walls around a child process that handles hostile bytes (DESIGN 5.5), from nothing but the kernel's calls by ctypes:
a machine that has only pip has them too. Imports nothing of the service: the child and the service both use it.
"""
