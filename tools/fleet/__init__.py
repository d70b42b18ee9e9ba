"""Many lines: building bundles, rolling them out, and what devices report."""
