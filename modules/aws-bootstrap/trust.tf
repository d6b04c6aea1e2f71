# Who may become whom.

locals {
  runner_trust = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        for name, forge in local.forges : {
          Sid       = "PipelinesOn${title(name)}"
          Effect    = "Allow"
          Principal = { Federated = forge.arn }
          Action    = "sts:AssumeRoleWithWebIdentity"
          # Equals, not Like: a wildcard here is a plain character.
          Condition = {
            StringEquals = {
              "${forge.issuer}:aud" = forge.audience
              "${forge.issuer}:sub" = forge.subjects
            }
          }
        }
      ],
      [
        for arns in [var.trusted_role_arns] : {
          Sid       = "TrustedRoles"
          Effect    = "Allow"
          Principal = { AWS = arns }
          Action    = "sts:AssumeRole"
        } if length(arns) > 0
      ],
    )
  })

  # Of the plan role and of the apply role. TagSession stands alone: it knows no session name.
  terraform_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyTheRunner"
        Effect    = "Allow"
        Principal = { AWS = local.runner_role_arn }
        Action    = "sts:AssumeRole"
        Condition = { StringLike = { "sts:RoleSessionName" = "tfops-*" } }
      },
      {
        Sid       = "OnlyTheRunnerTags"
        Effect    = "Allow"
        Principal = { AWS = local.runner_role_arn }
        Action    = "sts:TagSession"
      },
    ]
  })
}
