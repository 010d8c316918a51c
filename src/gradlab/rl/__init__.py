"""Reinforcement learning's ground: environments and the memory of what happened in them.

It knows nothing of networks, tasks or recipes.
"""
