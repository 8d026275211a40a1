"""The notebook face: what people type becomes nouns, the answer becomes an object that shows itself.

Its names are those of ``import tokenroof as tr``; this package imports nothing by itself.
"""
