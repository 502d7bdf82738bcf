"""
How the schema came to be, one file per step under `versions/`. Steps that were released never change.
"""
