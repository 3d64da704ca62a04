"""Feedback on answers: what a user says of one answer, kept with the trace of that answer.

records    the trace of an answer as it is kept, an opinion on it, and both together
recent     traces of the newest answers, in memory, so that feedback can find the one it speaks of
folder     feedback on disk, one file for each answer

Knows no route, no training row and no model.
"""
