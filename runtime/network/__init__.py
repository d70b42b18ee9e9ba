"""The feature extractor: its model card, its session, and the provider that runs it."""
