"""The evaluation over draws: individuals that nobody chose, and how far figures spread.

A draw is a set of individuals of the mini world. Defaults are chosen on the draws of
one range and reported on those of another; see `ranges`.
"""
