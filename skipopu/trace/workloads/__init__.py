"""Workloads of training methods: how long generations get, who shares a prompt, when a rollout is cut short.

None of these methods makes a step cheaper; a simulated gain is that of fewer tokens, and the figures are their papers'.
"""
