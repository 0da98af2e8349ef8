"""What a sweep keeps on disk and in S3, and who may write it."""
