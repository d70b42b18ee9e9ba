"""Pictures of results: overlays and explanations."""
