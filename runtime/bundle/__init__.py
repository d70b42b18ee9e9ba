"""The bundle: the folder that a device loads.

Read in this order:

bundle        opens and checks a bundle
manifest      its description, `manifest.json`
threshold     the threshold of the verdict and its false-reject rate
golden, observation    frames that test whether a machine reproduces the scores
"""
