-- Say that the log up to there is no longer whole; how far it is gone. To be committed before the first of its rows goes.
SELECT rowcast.forget(%(upto)s)
