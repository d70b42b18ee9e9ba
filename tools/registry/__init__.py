"""Where bundles are published: an OCI registry or an object store."""
