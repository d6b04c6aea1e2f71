# Names and ARNs, put together here so that no data source is needed. A postcondition checks them against what AWS made.

locals {
  bucket_arn    = "arn:${var.partition}:s3:::${var.bucket}"
  store_objects = "${local.bucket_arn}/${var.prefix}"
  state_prefix  = "${var.prefix}-state"
  state_objects = "${local.bucket_arn}/${local.state_prefix}"

  iam              = "arn:${var.partition}:iam::${var.account_id}"
  runner_role_name = "${var.name}-runner"
  plan_role_name   = "${var.name}-plan"
  apply_role_name  = "${var.name}-apply"
  runner_role_arn  = "${local.iam}:role/${local.runner_role_name}"
  plan_role_arn    = "${local.iam}:role/${local.plan_role_name}"
  apply_role_arn   = "${local.iam}:role/${local.apply_role_name}"

  data_key_alias    = "alias/${var.name}"
  signing_key_alias = "alias/${var.name}-signing"
  data_key_alias_arn = join(":", [
    "arn", var.partition, "kms", var.region, var.account_id, local.data_key_alias,
  ])

  # S3 as KMS sees it when it asks for a key on somebody's behalf.
  s3_service = "s3.${var.region}.${var.partition == "aws-cn" ? "amazonaws.com.cn" : "amazonaws.com"}"

  # The forges that are set, each with the ARN of its OIDC provider.
  forges = {
    for name, forge in { github = var.github, gitlab = var.gitlab } :
    name => merge(forge, {
      arn  = "${local.iam}:oidc-provider/${forge.issuer}"
      make = forge.provider_arn == null
    }) if forge != null
  }
}
