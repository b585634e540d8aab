"""Small blobs of packages out of the shares' bundles: many in one request."""
