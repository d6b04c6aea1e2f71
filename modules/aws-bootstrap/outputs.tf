output "configuration" {
  description = "What to write into tfops.hcl."
  value       = local.configuration
}

output "public_key" {
  description = "Public half of the signing key, for the file that `public_key` names in tfops.hcl."
  value       = data.aws_kms_public_key.signing.public_key_pem
}

output "bucket" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.store.bucket
}

output "state_prefix" {
  description = "Where managed states lie in the bucket."
  value       = local.state_prefix
}

output "data_key_arn" {
  description = "ARN of the key that encrypts everything in the bucket."
  value       = aws_kms_key.data.arn
}

output "signing_key_arn" {
  description = "ARN of the key that signs plans and records."
  value       = aws_kms_key.signing.arn
}

output "signing_key_alias" {
  description = "Alias of the key that signs plans and records."
  value       = aws_kms_alias.signing.name
}

output "runner_role_arn" {
  description = "ARN of the role that a pipeline takes to run tfops."
  value       = aws_iam_role.runner.arn
}

output "plan_role_arn" {
  description = "ARN of the role that Terraform gets while it plans."
  value       = aws_iam_role.plan.arn
}

output "apply_role_arn" {
  description = "ARN of the role that Terraform gets while it applies."
  value       = aws_iam_role.apply.arn
}

output "oidc_provider_arns" {
  description = "ARNs of the OIDC providers that the runner's trust names, by forge."
  value       = { for name, forge in local.forges : name => forge.arn }
}

output "reviewer_policy" {
  description = "IAM policy for people who review: redacted plans and their statements, nothing else. Attached to nobody."
  value       = local.reviewer_policy
}
