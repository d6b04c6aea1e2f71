locals {
  data_key_arn    = aws_kms_key.data.arn
  signing_key_arn = aws_kms_key.signing.arn
}

resource "aws_kms_key" "data" {
  description             = "tfops: plans, records and states in ${var.bucket}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = local.data_key_policy
  tags                    = var.tags

  # A key policy may only name roles that exist.
  depends_on = [aws_iam_role.runner, aws_iam_role.plan, aws_iam_role.apply]

  lifecycle {
    # Without this key nothing in the bucket can be read any more.
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "data" {
  name          = local.data_key_alias
  target_key_id = aws_kms_key.data.key_id
}

resource "aws_kms_key" "signing" {
  description              = "tfops: signs plans and records"
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 30
  policy                   = local.signing_key_policy
  tags                     = var.tags

  depends_on = [aws_iam_role.runner]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "signing" {
  name          = local.signing_key_alias
  target_key_id = aws_kms_key.signing.key_id
}

data "aws_kms_public_key" "signing" {
  key_id = aws_kms_key.signing.arn
}
