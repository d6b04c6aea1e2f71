resource "aws_s3_bucket" "store" {
  bucket              = var.bucket
  object_lock_enabled = var.object_lock != null
  tags                = var.tags

  lifecycle {
    # It holds the states. Object Lock cannot be changed later without a new bucket.
    prevent_destroy = true

    postcondition {
      condition     = self.region == var.region
      error_message = "The bucket lies in ${self.region}: set region to the provider's."
    }
  }
}

resource "aws_s3_bucket_versioning" "store" {
  bucket = aws_s3_bucket.store.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "store" {
  bucket = aws_s3_bucket.store.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "store" {
  bucket = aws_s3_bucket.store.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "store" {
  bucket = aws_s3_bucket.store.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "store" {
  bucket = aws_s3_bucket.store.id
  policy = local.bucket_policy

  # S3 refuses two changes of a bucket's access at once.
  depends_on = [aws_s3_bucket_public_access_block.store, aws_s3_bucket_ownership_controls.store]
}

resource "aws_s3_bucket_object_lock_configuration" "store" {
  count = var.object_lock == null ? 0 : 1

  bucket = aws_s3_bucket.store.id

  rule {
    default_retention {
      mode = var.object_lock.mode
      days = var.object_lock.days
    }
  }

  depends_on = [aws_s3_bucket_versioning.store]
}

resource "aws_s3_bucket_lifecycle_configuration" "store" {
  bucket = aws_s3_bucket.store.id

  # A lifecycle filter knows prefixes and tags, and no suffixes: tfops tags each plan.tfplan that it writes.
  rule {
    id     = "raw-plans"
    status = "Enabled"

    filter {
      and {
        prefix = "${var.prefix}/"
        tags   = { tfops = "raw-plan" }
      }
    }

    expiration {
      days = var.raw_plan_days
    }

    # The bucket has versions: to expire only hides an object. A day later its bytes go too.
    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "older-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    expiration {
      expired_object_delete_marker = true
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  depends_on = [aws_s3_bucket_versioning.store]
}
