"""What has nothing to do with models: files, strict JSON, optional packages, downloads."""
