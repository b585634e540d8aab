"""The kernel's side: the only importer of pyfuse3. It translates types and errors, and decides nothing.

pyfuse3's session is global state: one mount per process.
"""
