"""The data sets that LeukoBench knows, and a user's own: one module or folder each, its facts in
files beside the code.
"""
