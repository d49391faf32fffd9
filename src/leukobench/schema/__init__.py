"""What travels between rooms, as types with a version: predictions, records of runs, deliveries,
names of tags.

Everything may import this; it imports nothing of the project but its errors
and what hides credentials and checks names.
"""
