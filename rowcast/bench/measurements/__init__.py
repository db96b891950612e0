"""The measurements: each takes a place to measure in and says what it found. In the order of a full run:

`latency` `writers` `drain` `fanout` `idle` `storm` `claims` `replay` `startup`; `rivals` and `marker` have what several of them use
"""
